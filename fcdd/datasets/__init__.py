"""Data sets: one registry, one protocol (one class nominal, the rest anomalous), one way to find or fetch them.

Another package adds data sets by entry points of the group ``fcdd.datasets``, ``name = "module:ENTRIES"``, where
``ENTRIES`` maps names to :class:`Entry`. The names that are known here cannot be taken. Taught in: chapter 00.
"""

import difflib
import inspect
import math
from collections import UserDict
from importlib.metadata import EntryPoint, entry_points

import numpy as np
import torch

from . import cifar, idx, mvtec, piped
from .fetch import DataError, Entry, checksums, find, locate, places
from .folders import Pictures, class_folders, folder, image_folder, original_masks, pictures
from .overlaps import overlapping
from .split import Images, Split, one_vs_rest

__all__ = [
    "DataError", "Entry", "Images", "Split", "checksums", "class_folders", "classes", "find", "folder",
    "image_folder", "load", "load_all", "names", "one_vs_rest", "original_masks", "pictures", "places", "where",
]  # fmt: skip

FAMILIES = (idx, cifar, mvtec, piped)
MOST = 20e9  # bytes of exposure that load_all takes into memory


class _Registry(UserDict):
    """Entries by name; other packages' are imported when they are first asked for."""

    def __getitem__(self, name: str) -> Entry:
        if isinstance(entry := super().__getitem__(name), EntryPoint):
            entry = self[name] = entry.load()[name]
        return entry


REGISTRY = _Registry({point.name: point for point in entry_points(group=__name__)})
for family in FAMILIES:
    REGISTRY |= family.ENTRIES


def names() -> list[str]:
    """The data sets that :func:`load` knows."""
    return sorted(REGISTRY)


def classes(name: str, root=None) -> list[str]:
    """The class names of a data set, in label order; for Omniglot and ImageNet they are read from the data."""
    entry = _entry(name)
    return list(entry.classes or entry.read(locate(name, entry, root))[0])


def where(name: str, root=None, *, download: bool = False) -> str:
    """Where a data set was found, without reading it. Raises FileNotFoundError that says how to get it."""
    entry = _entry(name)
    if entry.split and not entry.places and entry.source is str:
        return load(name, entry.classes[0], root, download=download).source
    return entry.source(locate(name, entry, root, download))


def load(
    name: str, normal: str | None = None, root=None, *, labelled: float = 0.0, pollution: float = 0.0,
    known_classes: int = 1, seed: int = 0, download: bool = False, **options,
) -> Split:  # fmt: skip
    """The data set ``name`` with class ``normal`` nominal and every other class anomalous.

    ``root`` is a folder to look in; by default ``data/cache``, those in ``$FCDD_DATA`` and Debian's
    ``/usr/share/datasets``, in this order. ``labelled`` and ``known_classes``, ``pollution`` and ``seed`` as in
    :func:`one_vs_rest`. ``download=True`` fetches what is missing into ``data/cache``. ``options`` are the data set's
    own, as ``size`` = (H, W) for imagenet-30 and voc. Of pictures on disk only those of the split are opened. Raises
    ValueError for an unknown name, class or option, FileNotFoundError where the data is not found, and
    :class:`DataError` where a file is damaged."""
    entry = _entry(name)
    if entry.exposure_only:
        raise ValueError(f"{name} serves as outlier exposure only; take it from load_all({name!r})")
    if entry.classes and normal not in entry.classes:
        raise ValueError(f"unknown class {normal!r} of {name}; known: {', '.join(entry.classes)}")
    offered = {"seed": seed, "download": download, "root": root}
    drawn = {"labelled": labelled, "pollution": pollution, "known_classes": known_classes}
    if entry.split:
        unusual = {key: value for key, value in drawn.items() if value != (key == "known_classes")}
        return entry.split(normal, **_accepted(name, entry.split, unusual | options, offered))
    path = locate(name, entry, root, download)
    known, arrays = _read(name, path, options, {"normal": normal})
    return one_vs_rest(name, arrays, known, normal, entry.source(path), seed=seed, **drawn)


def load_all(name: str, root=None, without=None, *, size=None, limit: int | None = None, seed: int = 0):
    """All training images of a data set as one uint8 tensor (N, C, H, W), for outlier exposure.

    ``without`` leaves out the classes that overlap with the data set of that name, or those in a list; ``size`` =
    (H, W) is for photographs, others keep their own; ``limit`` keeps that many images, drawn by ``seed``, and decodes
    no others. Raises like :func:`load`, and ValueError if nothing is left or if it is too much."""
    entry = _entry(name)
    if entry.split:
        splits = [load(name, normal, root).train for normal in _kept(name, entry.classes, without)]
        images = torch.cat([train.images[torch.from_numpy(~train.anomalous)] for train in splits])
        kept = np.arange(len(images))
    else:
        known, arrays = _read(name, locate(name, entry, root), {}, {"size": size} if size else {})
        images, labels = arrays["train_images"], arrays["train_labels"].numpy()
        kept = np.flatnonzero(np.isin(labels, [known.index(each) for each in _kept(name, known, without)]))
    if limit is not None:
        kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))[:limit].numpy()]
    if isinstance(images, Pictures) and (needed := len(kept) * images.channels * math.prod(images.size)) > MOST:
        raise ValueError(f"{len(kept):,} images of {name} take {needed / 1e9:.0f} GB; set a limit (exposure_limit)")
    return images[:] if len(kept) == len(images) and limit is None else images[kept]


def _kept(name: str, known, without) -> list[str]:
    """The classes that are left without those that overlap a data set, or are named."""
    if isinstance(without, str):
        if without not in names():
            near = " or ".join(difflib.get_close_matches(without, names()))
            meant = f"did you mean {near}?" if near else f"known: {', '.join(names())}"
            wanted = "expected the classes to leave out as a list, or a data set's name"
            raise ValueError(f"{wanted}, got {without!r}; {meant}")
        out = set(overlapping(name, without, known))
    else:
        out = set(without or ())
        check_known(out, known, f"classes of {name}")
    if out >= set(known):
        raise ValueError(f"without {without!r} no class of {name} is left; name the classes to leave out")
    return [each for each in known if each not in out]


def check_known(wanted, known, what: str) -> None:
    """Raises ValueError that names what is not known, and what comes close."""
    for each in wanted:
        if each not in known:
            near = difflib.get_close_matches(str(each), known) or list(known)[:10]
            raise ValueError(f"unknown {what}: {each!r}; close to it: {', '.join(near)}")


def _read(name: str, path, options: dict, offered: dict) -> tuple[tuple[str, ...], dict]:
    """Class names and arrays. Raises :class:`DataError` where the classes are not those of the data set."""
    entry = REGISTRY[name]
    known, arrays = entry.read(path, **_accepted(name, entry.read, options, offered))
    if entry.classes and tuple(known) != entry.classes:
        strange = sorted(set(known) ^ set(entry.classes))
        raise DataError(f"{path} does not hold the classes of {name}; missing or strange: {', '.join(strange[:10])}")
    return tuple(known), arrays


def _accepted(name: str, function, options: dict, offered: dict) -> dict:
    """``options``, which the function must take, and those that are ``offered`` to every one, if it takes them."""
    parameters = inspect.signature(function).parameters
    if unknown := [key for key in options if key not in parameters]:
        raise ValueError(f"{name} takes no {', '.join(unknown)}; leave it out")
    return options | {key: value for key, value in offered.items() if key in parameters}


def _entry(name: str) -> Entry:
    if name not in REGISTRY:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(names())}")
    return REGISTRY[name]

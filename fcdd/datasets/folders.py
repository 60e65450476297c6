"""Data sets in folders: any layout that :mod:`fcdd.layouts` knows, trees of one folder a class, plain folders."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..pictures import SUFFIXES, Pictures, crop, find, pixels, squeeze
from .fetch import DataError
from .split import Split, one_vs_rest

__all__ = [
    "SUFFIXES", "DataError", "Pictures", "class_folders", "crop", "folder", "image_folder", "original_masks",
    "pictures", "pixels", "read_classes", "read_tree", "squeeze",
]  # fmt: skip


def folder(path, size: tuple[int, int] = (224, 224), channels: int = 3) -> Split:
    """A folder of any layout that :func:`fcdd.layouts.recognise` knows, as that of MVTec-AD, as a :class:`Split`.

    Images and masks are resized to ``size`` = (H, W), masks without mixing pixels; test.masks is None where nobody drew
    masks of defects. Raises FileNotFoundError without good images, :class:`DataError` that lists all that is wrong."""
    from ..layouts import recognise  # which imports Split from here

    return recognise(path).split(size, channels)


def original_masks(split: Split) -> list[np.ndarray]:
    """Masks of the test images at the size of their files, where papers evaluate: boolean (H, W), blank for good ones.
    ``split`` is what :func:`folder` gave, or a part of it. Raises FileNotFoundError or :class:`DataError` if files have
    gone, or cannot be read any more."""
    from ..layouts import recognise

    return recognise(split.source).original_masks(split.test.names) if len(split.test) else []


def class_folders(path, normal: str, size: tuple[int, int], channels: int = 3, **protocol) -> Split:
    """A tree ``train/<class>/*`` and ``test/<class>/*`` with class ``normal`` nominal, pictures resized to ``size``;
    ``protocol`` as in :func:`one_vs_rest`. Only pictures of the split are opened. Raises FileNotFoundError too."""
    classes, arrays = read_tree(Path(path), size, channels)
    return one_vs_rest(Path(path).name, arrays, classes, normal, str(path), **protocol)


def read_tree(path: Path, size, channels: int = 3, fit: Callable = squeeze, classes: dict | None = None):
    """Class names and arrays of a tree of one folder a class; the test pictures lie in ``test`` or ``val``."""
    test = next((path / part for part in ("test", "val") if (path / part).is_dir()), path / "test")
    names, images, labels = read_classes(path / "train", size, channels, fit, classes)
    _, test_images, test_labels = read_classes(test, size, channels, fit, classes or {name: (name,) for name in names})
    return names, dict(train_images=images, train_labels=labels, test_images=test_images, test_labels=test_labels)


def _inside(path: Path) -> list[Path]:
    return [folder for folder in find(path).folders if folder.parent == path] if path.is_dir() else []


def read_classes(path: Path, size, channels: int = 3, fit: Callable = squeeze, classes: dict | None = None):
    """Class names, :class:`Pictures` and labels of a folder with one folder a class; ``classes`` maps each class to the
    names that its folder may have. Raises FileNotFoundError for missing ones."""
    classes = classes or {folder.name: (folder.name,) for folder in _inside(path)}
    folders = [next((name for name in names if (path / name).is_dir()), names[0]) for names in classes.values()]
    missing = [folder for folder in folders if not (path / folder).is_dir()]
    if missing or not folders:
        raise FileNotFoundError(f"expected one folder a class in {path}, missing: {', '.join(missing[:5]) or 'all'}")
    found = [find(path / folder).files for folder in folders]
    if empty := [folder for folder, files in zip(folders, found, strict=True) if not files]:
        raise FileNotFoundError(f"expected pictures of each class in {path}, found none of {', '.join(empty[:5])}")
    labels = torch.arange(len(found)).repeat_interleave(torch.tensor([*map(len, found)]))
    return tuple(classes), Pictures(sum(found, []), size, channels, fit), labels


def image_folder(path, size: tuple[int, int], channels: int = 3, without: Sequence[str] = ()) -> torch.Tensor:
    """All pictures below a folder, resized, as uint8 (N, C, H, W), without some folders. Raises like :func:`folder`."""
    found = find(path)
    files = [file for file in found.files if file == path or file.relative_to(path).parts[0] not in without]
    if found.passed:
        logging.getLogger("fcdd").warning("%s", found)
    if not files:
        raise FileNotFoundError(f"expected images below {path}, found none (of {', '.join(sorted(SUFFIXES))})")
    return Pictures(files, size, channels)[:]


def pictures(path: Path) -> list[Path]:
    """The picture files below a folder, sorted by name; :func:`fcdd.pictures.find` also says what is passed over."""
    return find(path).files

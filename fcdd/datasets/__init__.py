"""Data sets: one registry, one protocol (one class nominal, the rest anomalous), one way to find or fetch them.

Taught in: chapter 00.
"""

from .fetch import DataError, find, places
from .folders import folder, image_folder, pictures
from .idx import FAMILY, read_family
from .split import Images, Split, one_vs_rest

__all__ = [
    "DataError",
    "Images",
    "Split",
    "classes",
    "find",
    "folder",
    "image_folder",
    "load",
    "load_all",
    "names",
    "pictures",
    "places",
]


def names() -> list[str]:
    """The data sets that :func:`load` knows."""
    return sorted(FAMILY)


def classes(name: str) -> list[str]:
    """The class names of a data set, in label order."""
    return list(_entry(name).classes)


def load(
    name: str, normal: str | None = None, root=None, *, labelled: float = 0.0, seed: int = 0, download: bool = False
) -> Split:
    """The data set ``name`` with class ``normal`` nominal and every other class anomalous.

    ``root`` is a folder to look in; by default ``data/cache``, the folders in ``$FCDD_DATA`` and Debian's
    ``/usr/share/datasets``, in this order. ``labelled`` is the share of labelled anomalies among the training
    images (drawn by ``seed`` from one other class, which ``seed`` draws too), for Deep SAD. ``download=True`` fetches
    what is missing into ``data/cache``. The result's ``source`` says which folder was used.

    Raises ValueError for an unknown name or class, FileNotFoundError where the data is not found, and
    :class:`DataError` where a file is damaged.
    """
    entry = _entry(name)
    if normal not in entry.classes:
        raise ValueError(f"unknown class {normal!r} of {name}; known: {', '.join(entry.classes)}")
    arrays, source = read_family(name, root, download)
    return one_vs_rest(name, arrays, entry.classes, normal, source, labelled=labelled, seed=seed)


def load_all(name: str, root=None):
    """All training images of a data set as one uint8 tensor (N, C, H, W), without labels: for outlier exposure."""
    _entry(name)
    return read_family(name, root)[0]["train_images"]


def _entry(name: str):
    if name not in FAMILY:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(names())}")
    return FAMILY[name]

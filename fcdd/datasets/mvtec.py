"""MVTec-AD: photographs of fifteen industrial products and textures, with the masks of their defects.

5,354 images, CC BY-NC-SA 4.0: for non-commercial use. Source: Bergmann et al. 2019, *MVTec AD: A Comprehensive
Real-World Dataset for Unsupervised Anomaly Detection*. Taught in: chapter 06.
"""

from dataclasses import replace
from pathlib import Path

from . import fetch
from .archives import unpack
from .fetch import FACTS, how_to_get, listed, places
from .folders import folder
from .split import Split

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
CATEGORIES = tuple(FACTS["mvtec"]["classes"])
OBJECTS = tuple(name for name in CATEGORIES if name not in TEXTURES)
ARCHIVES = tuple(FACTS["mvtec"]["archives"])
OFFICIAL = "mvtec_anomaly_detection.tar.xz"
URL = f"https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/420938113-1629952094/{OFFICIAL}"


def mvtec(normal: str, root=None, size: tuple[int, int] = (224, 224), download: bool = False) -> Split:
    """One of :data:`CATEGORIES` in its official split; images (N, 3, H, W) and masks are resized to ``size`` = (H, W).

    Looked for as ``<category>/train/good`` in a folder whose name begins with mvtec, or one level below it, in ``root``
    or where data lies (:func:`fcdd.datasets.places`); else in one of :data:`ARCHIVES`, unpacked once into the cache.
    ``download=True`` fetches the publisher's archive (5.3 GB) if need be, from where an earlier attempt stopped.
    :func:`~fcdd.datasets.folders.original_masks` reads the masks at the size of the files. Raises ValueError,
    FileNotFoundError with ways to get the data, and :class:`~fcdd.datasets.DataError` for damaged files."""
    if normal not in CATEGORIES:
        raise ValueError(f"unknown category {normal!r} of MVTec-AD; known: {', '.join(CATEGORIES)}")
    path = find_category(normal, root)
    if path is None and download:
        _fetch()
        path = find_category(normal, fetch.cache())
    if path is None:
        looked = f"{normal}/train/good in " + ", ".join(f"{place}/mvtec*" for place in places(root))
        raise FileNotFoundError(how_to_get(f"MVTec-AD's {normal}", ENTRIES["mvtec"], looked))
    return replace(folder(path, size), name=f"mvtec/{normal}")


def find_category(normal: str, root=None) -> Path | None:
    """The folder of one category, unpacked from an archive if need be; None if it is nowhere."""
    named = "[mM][vV][tT][eE][cC]*"
    for place in places(root):
        # A root that is given may have any name, and so may the folders below one that is named after the data set.
        starts = (".", named) if root is not None or place.match(named) else (named,)
        for pattern in (f"{start}/{level}{normal}/train/good" for start in starts for level in ("", "*/")):
            for found in sorted(place.glob(pattern)):
                return found.parents[1]
    for archive in (place / part / name for place in places(root) for part in ("", "mvtec") for name in ARCHIVES):
        # The publisher's holds all categories, and takes minutes to look through; another's name says what it holds.
        if archive.is_file() and (archive.name == OFFICIAL or normal in archive.stem.split("_")):
            for found in unpack(archive, "mvtec").glob(f"**/{normal}/train/good"):
                return found.parents[1]
    return None


def _fetch() -> None:
    unpack(fetch.download("mvtec", {OFFICIAL: URL}, fetch.SHA256) / OFFICIAL, "mvtec")


ENTRIES = {"mvtec": listed("mvtec", split=mvtec, fetch=_fetch)}

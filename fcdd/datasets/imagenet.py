"""ImageNet (Russakovsky et al. 2015) as it is used here: ImageNet-30, Tiny ImageNet, and any of it as exposure.

None of it may be passed on, so nothing is fetched. ImageNet-30: Hendrycks et al. 2019.
"""

from functools import partial
from pathlib import Path

from .archives import unpack
from .fetch import FACTS, listed
from .folders import Pictures, crop, labelled_files, read_tree, squeeze
from .split import complete

THIRTY = FACTS["imagenet-30"]["classes"]


def _read_thirty(path: Path, size: tuple[int, int] = (224, 224)):
    """Shorter side 256, middle 224; folders are named by WordNet id or by class."""
    folders = {name: (wnid, name, name.replace(" ", "_")) for name, wnid in THIRTY.items()}
    return read_tree(path, size, fit=partial(crop, margin=256 / 224), classes=folders)


def _read_tiny(path: Path):
    """Classes are WordNet ids. The official validation images are not used: the set serves as exposure."""
    return _one_part(path / "train", (32, 32), squeeze)


def _read_any(path: Path, size: tuple[int, int] = (224, 224)):
    """Classes are WordNet ids. The middle of each picture; at small sizes all of it, or too little would be seen."""
    path = path if path.is_dir() else unpack(path) / path.stem
    return _one_part(path, size, crop if min(size) >= 64 else squeeze)


def _one_part(path: Path, size, fit):
    classes = {folder.name: (folder.name,) for folder in sorted(path.glob("*")) if folder.is_dir()}
    files, labels = labelled_files(path, classes)
    return tuple(classes), complete({"train_images": Pictures(files, size, fit=fit), "train_labels": labels})


ENTRIES = {
    "imagenet-30": listed("imagenet-30", read=_read_thirty),
    "tiny-imagenet": listed("tiny-imagenet", read=_read_tiny),
    "imagenet": listed("imagenet", read=_read_any),
}

"""ImageNet (Russakovsky et al. 2015) as it is used here: ImageNet-30, Tiny ImageNet, and any of it as exposure.

None of it may be passed on, so nothing is fetched. ImageNet-30: Hendrycks et al. 2019.
"""

from functools import partial
from pathlib import Path

from fcdd.datasets.archives import unpack
from fcdd.datasets.fetch import FACTS, listed
from fcdd.datasets.folders import crop, read_classes, read_tree, squeeze
from fcdd.datasets.split import complete

THIRTY = FACTS["imagenet-30"]["classes"]


def _read_thirty(path: Path, size: tuple[int, int] = (224, 224)):
    """Shorter side 256, middle 224; folders are named by WordNet id or by class."""
    folders = {name: (wnid, name, name.replace(" ", "_")) for name, wnid in THIRTY.items()}
    return read_tree(path, size, fit=partial(crop, margin=256 / 224), classes=folders)


def _read_any(path: Path, size: tuple[int, int] = (224, 224)):
    """Classes are WordNet ids. The middle of each picture; at small sizes all of it, or too little would be seen."""
    path = path if path.is_dir() else unpack(path) / path.stem
    names, images, labels = read_classes(path, size, fit=crop if min(size) >= 64 else squeeze)
    return names, complete({"train_images": images, "train_labels": labels})


ENTRIES = {
    "imagenet-30": listed("imagenet-30", read=_read_thirty),
    # The official validation images of Tiny ImageNet are not used: the set serves as exposure.
    "tiny-imagenet": listed("tiny-imagenet", read=lambda path: _read_any(path / "train", (32, 32))),
    "imagenet": listed("imagenet", read=_read_any),
}

"""ImageNet (Russakovsky et al. 2015) as it is used here: ImageNet-30, Tiny ImageNet, and any of it as exposure.

None of it may be passed on, so nothing is fetched. ImageNet-30: Hendrycks et al. 2019.
"""

from functools import partial
from pathlib import Path

import torch

from .archives import members, read_archive
from .fetch import DataError, Entry
from .folders import Pictures, crop, labelled_files, read_tree, squeeze
from .split import complete

THIRTY = {
    "acorn": "n12267677", "airliner": "n02690373", "ambulance": "n02701002", "american alligator": "n01698640",
    "banjo": "n02787622", "barn": "n02793495", "bikini": "n02837789", "digital clock": "n03196217",
    "dragonfly": "n02268443", "dumbbell": "n03255030", "forklift": "n03384352", "goblet": "n03443371",
    "grand piano": "n03452741", "hotdog": "n07697537", "hourglass": "n03544143", "manhole cover": "n03717622",
    "mosque": "n03788195", "nail": "n03804744", "parking meter": "n03891332", "pillow": "n03938244",
    "revolver": "n04086273", "dial telephone": "n03187595", "schooner": "n04147183", "snowmobile": "n04252077",
    "soccer ball": "n04254680", "stingray": "n01498041", "strawberry": "n07745940", "tank": "n04389033",
    "toaster": "n04442312", "volcano": "n09472597",
}  # fmt: skip


def _read_thirty(path: Path, size: tuple[int, int] = (224, 224)):
    """Shorter side 256, middle 224; folders are named by WordNet id or by class."""
    folders = {name: (wnid, name, name.replace(" ", "_")) for name, wnid in THIRTY.items()}
    return read_tree(path, size, fit=partial(crop, margin=256 / 224), classes=folders)


def _read_tiny(path: Path):
    """Classes are WordNet ids. The official validation images are not used: the set serves as exposure."""
    if path.is_file():
        return read_archive(path)
    return _one_part(path / "train", (32, 32), squeeze)


def _read_any(path: Path, size: tuple[int, int] = (224, 224)):
    """Classes are WordNet ids. The middle of each picture; at small sizes all of it, or too little would be seen."""
    fit = crop if min(size) >= 64 else squeeze
    if path.is_dir():
        return _one_part(path, size, fit)
    files = members(path)
    wnids = [file.name.split("/")[-2] if "/" in file.name else "" for file in files]
    if not all(wnids):
        raise DataError(f"expected one folder a class in {path}, found none")
    classes = tuple(sorted(set(wnids)))
    where = {wnid: k for k, wnid in enumerate(classes)}
    return classes, _arrays(Pictures(files, size, fit=fit), torch.tensor([where[wnid] for wnid in wnids]))


def _one_part(path: Path, size, fit):
    classes = {folder.name: (folder.name,) for folder in sorted(path.glob("*")) if folder.is_dir()}
    files, labels = labelled_files(path, classes)
    return tuple(classes), _arrays(Pictures(files, size, fit=fit), labels)


def _arrays(images, labels) -> dict:
    return complete({"train_images": images, "train_labels": labels})


ENTRIES = {
    "imagenet-30": Entry(
        tuple(THIRTY),
        ("imagenet30", "imagenet-30", "imagenet"),
        _read_thirty,
        files=("train",),
        expects="train/<WordNet id or class>/* and val/... or test/... of its 30 classes",
    ),
    "tiny-imagenet": Entry(
        None,
        ("tiny-imagenet-200", "tinyimagenet32", "tinyimagenet32_jpg.tar.xz"),
        _read_tiny,
        expects="the official tree, a tree train/<WordNet id>/* or the tar of one",
        hints=("download it from http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
    ),
    "imagenet": Entry(
        None,
        ("imagenet/train", "ILSVRC/Data/CLS-LOC/train", "imagenet_sample_256", "imagenet_sample_256.tar"),
        _read_any,
        expects="one folder a WordNet id, or a tar of them",
        exposure_only=True,
    ),
}

"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32×32 RGB, from the official batches; CIFAR-10 also from JPEG copies."""

from functools import partial
from pathlib import Path

import torch

from . import fetch
from .archives import read_archive
from .fetch import DataError, Entry
from .folders import read_tree

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
HUNDRED = tuple(_HUNDRED.split())


def _torchvision(name: str):
    from torchvision import datasets

    return getattr(datasets, name)


def _fetch(name: str) -> None:
    _torchvision(name)(fetch.cache(), download=True)


def _read_batches(path: Path, name: str):
    arrays = {}
    for part in ("train", "test"):
        try:
            found = _torchvision(name)(path.parent, train=part == "train")
        except RuntimeError as error:  # torchvision compares every batch with its md5
            raise DataError(f"{path} is damaged or not complete ({error}); remove it and fetch it again") from error
        arrays[f"{part}_images"] = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
        arrays[f"{part}_labels"] = torch.tensor(found.targets)
    return tuple(found.classes), arrays


def _read_ten(path: Path):
    if path.name == "cifar-10-batches-py":
        return _read_batches(path, "CIFAR10")
    return read_archive(path) if path.is_file() else read_tree(path, (32, 32))


def _source_of_ten(path: Path) -> str:
    return str(path) + ("" if path.name == "cifar-10-batches-py" else " (a JPEG copy, not the official batches)")


ENTRIES = {
    "cifar10": Entry(
        TEN,
        ("cifar-10-batches-py", "cifar10", "cifar10_jpg.tar.xz"),
        _read_ten,
        expects="the official batches, the folder cifar10/{train,test}/<class>/*.jpg or the tar of it",
        fetch=partial(_fetch, "CIFAR10"),
        source=_source_of_ten,
    ),
    "cifar100": Entry(
        HUNDRED,
        ("cifar-100-python",),
        partial(_read_batches, name="CIFAR100"),
        expects="the official files train, test and meta",
        fetch=partial(_fetch, "CIFAR100"),
    ),
}

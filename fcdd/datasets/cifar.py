"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32×32 RGB, from the official batches or from lossless sheets of them.

Images are sorted by class and official file name, whatever they are read from, so that all sources give equal arrays.
"""

import pickle
import tarfile
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from .archives import decoded
from .fetch import FACTS, DataError, listed
from .folders import read_tree

TEN, HUNDRED = (tuple(FACTS[name]["classes"]) for name in ("cifar10", "cifar100"))
SIDE = 32


def _read(path: Path, name: str, normal: str | None = None):
    if path.name == "cifar10":
        return read_tree(path, (SIDE, SIDE))
    if path.is_dir():
        return _read_batches(path, name.upper())
    classes = FACTS[name]["classes"]
    arrays = decoded(path, partial(_read_sheets, classes=classes))
    if normal is not None and "test_images" not in arrays:
        told = f"expected test images of {name}, found none in {path}, which serves as outlier exposure only"
        raise FileNotFoundError(f"{told}; get the official files, with: fcdd data fetch {name}")
    return classes, arrays


def _read_batches(path: Path, name: str):
    from torchvision import datasets

    kind, arrays = getattr(datasets, name), {}
    for part, batches in (("train", kind.train_list), ("test", kind.test_list)):
        try:
            found = kind(path.parent, train=part == "train")
        except RuntimeError as error:  # torchvision compares every batch with its md5
            raise DataError(f"{path} is damaged or not complete ({error}); remove it and fetch it again") from error
        read = [pickle.loads((path / file).read_bytes(), encoding="latin1") for file, _ in batches]
        order = np.lexsort(([file for batch in read for file in batch["filenames"]], found.targets))
        arrays[f"{part}_images"] = torch.from_numpy(found.data[order]).permute(0, 3, 1, 2).contiguous()
        arrays[f"{part}_labels"] = torch.tensor(found.targets)[order]
    return tuple(found.classes), arrays


def _read_sheets(path: Path, classes) -> dict:
    """Arrays of a tar of ``<part>/<class>.webp``, rows of images, each beside a ``.txt`` with their file names."""
    found: dict[str, dict] = {"train": {}, "test": {}}
    with tarfile.open(path, "r:") as archive:
        for sheet in (member.name for member in archive.getmembers() if member.name.endswith(".webp")):
            listing, picture = (archive.extractfile(sheet[:-4] + suffix) for suffix in ("txt", "webp"))
            files, pixels = listing.read().decode().split("\n"), np.asarray(Image.open(picture).convert("RGB"))
            rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
            images = pixels.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)
            if not 0 <= len(images) - len(files) < columns:
                raise ValueError(f"{sheet} shows up to {len(images)} images, {len(files)} file names stand beside it")
            part, label = PurePosixPath(sheet).with_suffix("").parts[-2:]
            found[part][label] = images[np.argsort(files)]
    arrays = {}
    for part, sheets in found.items():
        if part == "test" and not sheets:
            continue
        if strange := sorted(set(sheets) ^ set(classes)):
            raise ValueError(f"expected one sheet a class in {part}/, missing or strange: {', '.join(strange[:10])}")
        arrays[f"{part}_images"] = np.concatenate([sheets[each] for each in classes])
        arrays[f"{part}_labels"] = np.repeat(np.arange(len(classes)), [len(sheets[each]) for each in classes])
    return arrays


ENTRIES = {name: listed(name, read=partial(_read, name=name)) for name in ("cifar10", "cifar100")}

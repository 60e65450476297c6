"""The MNIST family: images of 28×28 grey pixels in idx files, and the subset of Fashion-MNIST inside the package.

Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, MIT licence. MNIST: LeCun et al. 1998. notMNIST: Bulatov 2011.
EMNIST: Cohen et al. 2017.
"""

import gzip
import hashlib
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch

from . import fetch
from .fetch import FACTS, DataError, Entry, download, listed
from .split import complete

EMBEDDED = fetch.EMBEDDED / "fashion_mnist_small.npz"
EMBEDDED_SHA256 = fetch.SHA256[EMBEDDED.name]

FILES = FACTS["mnist"]["files"]
CLOTHES = tuple(FACTS["fashion-mnist"]["classes"])


def official(name: str, checked: bool = True) -> Entry:
    """The entry of a data set in idx files; ``checked`` compares them with the registry's sha256, where it has them."""
    facts = FACTS[name]
    files = tuple(facts["files"].values())
    fetch = {"fetch": partial(_fetch, facts["places"][0], facts["packed"])} if "packed" in facts else {}
    expects = f"its idx files ({', '.join(files)}, .gz or not)"
    return listed(name, read=partial(_read, name=name, checked=checked), files=files, expects=expects, **fetch)


def _fetch(folder: str, kind: str) -> None:
    """The packed files from the address, and with the checksums, that torchvision lists."""
    from torchvision import datasets

    found = getattr(datasets, kind)
    urls = {file: found.mirrors[0] + file for file, _ in found.resources}
    download(folder, urls, {file: f"md5:{md5}" for file, md5 in found.resources})


def _read(path: Path, name: str, checked: bool):
    """Class names and arrays, images (N, 1, 28, 28) uint8."""
    facts, count = FACTS[name], len(FACTS[name]["classes"])
    known = facts.get("unpacked", {}) if checked and facts.get("checked_in", path.name) in path.parts else {}
    arrays = {key: _read_idx(path, file, known.get(key)) for key, file in facts["files"].items()}
    for part in {key.split("_")[0] for key in arrays}:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"] - facts.get("first", 0)
        if len(images) != len(labels) or labels.max() >= count or labels.min() < 0:
            found = f"{len(images)} images, {len(labels)} labels from {labels.min()} to {labels.max()}"
            told = f"the {part} files in {path} do not belong together: {found} for {count} classes; fetch them again"
            raise DataError(told)
        images = images.transpose(2, 3).contiguous() if facts.get("turned") else images
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    return facts["classes"], complete(arrays)


def _read_idx(folder: Path, file: str, sha256: str | None) -> torch.Tensor:
    path = folder / file
    path = path if path.exists() else folder / f"{file}.gz"
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
        array = np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (EOFError, OSError, zlib.error, IndexError, struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged or cut short ({error}); remove it and fetch it again") from error
    found = hashlib.sha256(raw).hexdigest()
    if sha256 and found != sha256:
        raise DataError(f"{path} is not the official file: expected sha256 {sha256}, got {found}; fetch it again")
    tensor = torch.from_numpy(array.copy())
    return tensor[:, None] if tensor.ndim == 3 else tensor.long()


def _read_embedded(_=None):
    found = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataError(f"{EMBEDDED} is damaged: expected sha256 {EMBEDDED_SHA256}, got {found}; check it out again")
    with np.load(EMBEDDED) as kept:
        arrays = {key: torch.from_numpy(kept[key]) for key in FILES}
    return CLOTHES, {key: array.long() if "labels" in key else array for key, array in arrays.items()}


ENTRIES = {name: official(name) for name in ("fashion-mnist", "mnist", "notmnist", "emnist-letters")}
ENTRIES["fashion-mnist-small"] = listed(
    "fashion-mnist-small", read=_read_embedded, source=lambda _: "the package itself (embedded subset)"
)

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

from .fetch import FACTS, DataError, Entry, by_torchvision, download, listed
from .split import complete

EMBEDDED = Path(__file__).parent / "embedded" / "fashion_mnist_small.npz"
EMBEDDED_SHA256 = "c5cd865fb76b0464b71a9220a1e9b23fcc6b8310f7d1174387aa8c939e583f77"

FILES = FACTS["mnist"]["files"]
CLOTHES = tuple(FACTS["fashion-mnist"]["classes"])


def official(name: str, fetch=None, **reader) -> Entry:
    """The entry of a data set in idx files.

    ``reader``: upright, first, checked_in (a folder whose files alone are checked) and other checksums than the
    registry's, ``unpacked``.
    """
    files, names = FACTS[name]["files"], tuple(FACTS[name]["classes"])
    reader = {"unpacked": FACTS[name].get("unpacked", {})} | reader
    return listed(
        name,
        read=partial(_read_files, names=names, files=files, **reader),
        files=tuple(files.values()),
        expects=f"its idx files ({', '.join(files.values())}, .gz or not)",
        fetch=fetch,
    )


def _fetch(folder: str, kind: str) -> None:
    """The packed files from the address, and with the checksums, that torchvision lists."""
    from torchvision import datasets

    found = getattr(datasets, kind)
    urls = {file: found.mirrors[0] + file for file, _ in found.resources}
    download(folder, urls, {file: f"md5:{md5}" for file, md5 in found.resources})


def _read_files(path: Path, names, files, unpacked, upright=True, first=0, checked_in=""):
    """Class names and arrays, images (N, 1, 28, 28) uint8; ``first`` is the lowest label in the files."""
    known = unpacked if not checked_in or checked_in in path.parts else {}
    arrays = {key: _read_idx(path, file, known.get(key)) for key, file in files.items()}
    for part in {key.split("_")[0] for key in files}:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"] - first
        if len(images) != len(labels) or labels.max() >= len(names) or labels.min() < 0:
            raise DataError(
                f"the {part} files in {path} do not belong together: {len(images)} images, {len(labels)} labels from "
                f"{int(labels.min())} to {int(labels.max())} for {len(names)} classes; fetch them again"
            )
        arrays[f"{part}_images"] = images if upright else images.transpose(2, 3).contiguous()
        arrays[f"{part}_labels"] = labels
    return names, complete(arrays)


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
    array = torch.from_numpy(array.copy())
    return array[:, None] if array.ndim == 3 else array.long()


def _read_embedded(_=None):
    found = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataError(f"{EMBEDDED} is damaged: expected sha256 {EMBEDDED_SHA256}, got {found}; check it out again")
    with np.load(EMBEDDED) as kept:
        arrays = {key: torch.from_numpy(kept[key]) for key in FILES}
    return CLOTHES, {key: array.long() if "labels" in key else array for key, array in arrays.items()}


ENTRIES = {
    "fashion-mnist-small": listed(
        "fashion-mnist-small", read=_read_embedded, source=lambda _: "the package itself (embedded subset)"
    ),
    "fashion-mnist": official("fashion-mnist", partial(_fetch, "fashion-mnist", "FashionMNIST")),
    "mnist": official("mnist", partial(_fetch, "mnist", "MNIST")),
    "notmnist": official("notmnist", checked_in="notMNIST_10k"),  # other copies hold other images
    # The files of EMNIST hold every letter with rows and columns exchanged, and count from a = 1.
    "emnist-letters": official("emnist-letters", by_torchvision("EMNIST", split="letters"), upright=False, first=1),
}

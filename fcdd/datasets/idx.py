"""The MNIST family: images of 28×28 grey pixels in idx files, and the subset of Fashion-MNIST inside the package.

Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, MIT licence. MNIST: LeCun et al. 1998. notMNIST: Bulatov 2011.
"""

import gzip
import hashlib
import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .fetch import DataError, download, find, places

EMBEDDED = Path(__file__).parent / "embedded" / "fashion_mnist_small.npz"
EMBEDDED_SHA256 = "c5cd865fb76b0464b71a9220a1e9b23fcc6b8310f7d1174387aa8c939e583f77"

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class Entry:
    """One data set: its classes, the folders it is known under, the sha256 of its unpacked files, where to fetch it."""

    classes: tuple[str, ...]
    folders: tuple[str, ...] = ()
    sha256: dict = field(default_factory=dict)
    mirror: str | None = None
    md5: dict = field(default_factory=dict)  # of the packed files at the mirror, as torchvision lists them
    parts: tuple[str, ...] = ("train", "test")


CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

FAMILY = {
    "fashion-mnist-small": Entry(CLOTHES),
    "fashion-mnist": Entry(
        CLOTHES,
        ("fashion-mnist", "FashionMNIST/raw", "Fashion-MNIST/raw"),
        {
            "train_images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train_labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "test_images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "test_labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train_images": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train_labels": "25c81989df183df01b3e8a0aad5dffbe",
            "test_images": "bef4ecab320f06d8554ea6380940ec79",
            "test_labels": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "mnist": Entry(
        tuple("0123456789"),
        ("MNIST/raw", "mnist"),
        {},
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train_images": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train_labels": "d53e105ee54ea40749a09fcbcd1e9432",
            "test_images": "9fb629c4189551a2d022fa330f9573f3",
            "test_labels": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "notmnist": Entry(tuple("ABCDEFGHIJ"), ("notMNIST_10k/raw", "notMNIST/raw", "notmnist"), parts=("test",)),
}


def read_family(name: str, root=None, may_download: bool = False) -> tuple[dict, str]:
    """The arrays of a data set as tensors, images (N, 1, 28, 28) uint8 and labels (N,), and where they were found."""
    if name == "fashion-mnist-small":
        return _read_embedded(), "the package itself (embedded subset)"
    entry = FAMILY[name]
    files = {key: file for key, file in FILES.items() if key.split("_")[0] in entry.parts}
    folder = find(name, entry.folders, tuple(files.values()), root)
    if folder is None and may_download and entry.mirror:
        urls = {f"{file}.gz": f"{entry.mirror}{file}.gz" for file in files.values()}
        folder = download(name, urls, {f"{files[key]}.gz": f"md5:{value}" for key, value in entry.md5.items()})
    if folder is None:
        raise FileNotFoundError(_how_to_get(name, entry, root))
    logging.getLogger("fcdd").info("%s: read from %s", name, folder)
    arrays = {key: _read_idx(folder, file, entry.sha256.get(key)) for key, file in files.items()}
    _check_together(folder, arrays, len(entry.classes))
    if entry.parts == ("test",):  # one part only: it serves as both
        arrays |= {key.replace("test", "train"): value for key, value in arrays.items()}
    return arrays, str(folder)


def _check_together(folder: Path, arrays: dict, classes: int) -> None:
    for part in {key.split("_")[0] for key in arrays}:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if len(images) != len(labels) or labels.max() >= classes:
            raise DataError(
                f"the {part} files in {folder} do not belong together: {len(images)} images, "
                f"{len(labels)} labels up to "
                f"{int(labels.max())} of {classes} classes; fetch them again"
            )


def _how_to_get(name, entry, root) -> str:
    looked = ", ".join(f"{place}/{part}" for place in places(root) for part in entry.folders)
    ways = [f"put its idx files ({', '.join(FILES.values())}, .gz or not) into one of them"]
    ways += ["set $FCDD_DATA to the folder that holds it"]
    ways += [f"let it be fetched with fcdd.datasets.load({name!r}, ..., download=True)"] if entry.mirror else []
    if name == "fashion-mnist":
        ways += ["install Debian's package dataset-fashion-mnist", "use the embedded subset 'fashion-mnist-small'"]
    return f"{name} was not found. Looked in {looked}. Either " + "; or ".join(ways) + "."


def _read_idx(folder: Path, file: str, sha256: str | None) -> torch.Tensor:
    path = folder / file
    path = path if path.exists() else folder / f"{file}.gz"
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}); remove it and fetch it again") from error
    shape = tuple(int.from_bytes(raw[4 + 4 * k : 8 + 4 * k], "big") for k in range(raw[3])) if len(raw) > 4 else ()
    header = 4 + 4 * len(shape)
    if not shape or len(raw) != header + int(np.prod(shape)):
        raise DataError(
            f"{path} is damaged or cut short: expected {header + int(np.prod(shape))} bytes for an array of {shape}, "
            f"got {len(raw)}; remove it and fetch it again"
        )
    found = hashlib.sha256(raw).hexdigest()
    if sha256 and found != sha256:
        raise DataError(f"{path} is not the official file: expected sha256 {sha256}, got {found}; fetch it again")
    array = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header).reshape(shape)
    return array[:, None] if array.ndim == 3 else array.long()


def _read_embedded() -> dict:
    found = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataError(f"{EMBEDDED} is damaged: expected sha256 {EMBEDDED_SHA256}, got {found}; check it out again")
    with np.load(EMBEDDED) as arrays:
        return {
            key: torch.from_numpy(arrays[key]).long() if "labels" in key else torch.from_numpy(arrays[key])
            for key in FILES
        }

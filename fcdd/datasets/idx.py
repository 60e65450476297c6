"""The MNIST family: images of 28×28 grey pixels in idx files, and the subset of Fashion-MNIST inside the package.

Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, MIT licence. MNIST: LeCun et al. 1998. notMNIST: Bulatov 2011.
EMNIST: Cohen et al. 2017.
"""

import gzip
import hashlib
import string
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch

from . import fetch
from .fetch import DataError, Entry, download
from .split import complete

EMBEDDED = Path(__file__).parent / "embedded" / "fashion_mnist_small.npz"
EMBEDDED_SHA256 = "c5cd865fb76b0464b71a9220a1e9b23fcc6b8310f7d1174387aa8c939e583f77"

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}

CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def official(classes, folders, sha256=None, mirror=None, md5=None, parts=("train", "test"), files=None, **options):
    """The entry of a data set in idx files.

    sha256 is of the unpacked files; md5 of the packed ones at the mirror, as torchvision lists them; ``options`` are
    those of the reader (upright, first, checked_in) and of :class:`~fcdd.datasets.fetch.Entry` (hints, fetch).
    """
    files = {key: file for key, file in (files or FILES).items() if key.split("_")[0] in parts}
    reader = {key: options.pop(key) for key in ("upright", "first", "checked_in") if key in options}
    if mirror:
        urls = {f"{file}.gz": f"{mirror}{file}.gz" for file in files.values()}
        hashes = {f"{files[key]}.gz": f"md5:{value}" for key, value in md5.items()}
        options["fetch"] = partial(download, folders[0], urls, hashes)
    return Entry(
        tuple(classes),
        folders,
        partial(_read_files, names=tuple(classes), files=files, sha256=sha256 or {}, **reader),
        files=tuple(files.values()),
        expects=f"its idx files ({', '.join(files.values())}, .gz or not)",
        **options,
    )


def _read_files(path: Path, names, files, sha256, upright=True, first=0, checked_in=""):
    """Class names and arrays, images (N, 1, 28, 28) uint8; ``first`` is the lowest label in the files."""
    known = sha256 if not checked_in or checked_in in path.parts else {}
    arrays = {key: _read_idx(path, file, known.get(key)) for key, file in files.items()}
    for key in arrays:
        if "labels" in key:
            arrays[key] = arrays[key] - first
        elif not upright:
            arrays[key] = arrays[key].transpose(2, 3).contiguous()
    _check_together(path, arrays, len(names))
    return names, complete(arrays)


def _check_together(folder: Path, arrays: dict, classes: int) -> None:
    for part in {key.split("_")[0] for key in arrays}:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if len(images) != len(labels) or labels.max() >= classes or labels.min() < 0:
            raise DataError(
                f"the {part} files in {folder} do not belong together: {len(images)} images, "
                f"{len(labels)} labels from {int(labels.min())} to {int(labels.max())} for {classes} classes; "
                "fetch them again"
            )


def _fetch_emnist() -> None:
    from torchvision.datasets import EMNIST

    EMNIST(fetch.cache(), split="letters", download=True)


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


ENTRIES = {
    "fashion-mnist-small": Entry(
        CLOTHES, read=lambda _: (CLOTHES, _read_embedded()), source=lambda _: "the package itself (embedded subset)"
    ),
    "fashion-mnist": official(
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
        hints=("install Debian's package dataset-fashion-mnist", "use the embedded subset 'fashion-mnist-small'"),
    ),
    "mnist": official(
        string.digits,
        ("mnist", "MNIST/raw"),
        {
            "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train_images": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train_labels": "d53e105ee54ea40749a09fcbcd1e9432",
            "test_images": "9fb629c4189551a2d022fa330f9573f3",
            "test_labels": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "notmnist": official(
        "ABCDEFGHIJ",
        ("notMNIST_10k/raw", "notMNIST/raw", "notmnist"),
        {
            "test_images": "8e7f38ae95cc8f48e0986175ffc9137e5007ebcf3d8fdf6656c904eb9dab198b",
            "test_labels": "5f8e6012f2ce730700d8d05fca098bc47f71d25b890e4bec7ac5ebfd614a4001",
        },
        parts=("test",),
        checked_in="notMNIST_10k",  # other copies hold other images
    ),
    "emnist-letters": official(
        string.ascii_lowercase,
        ("EMNIST/raw",),
        files={
            key: file.replace("train", "emnist-letters-train").replace("t10k", "emnist-letters-test")
            for key, file in FILES.items()
        },
        upright=False,  # the files hold every letter with rows and columns exchanged
        first=1,  # and count from a = 1
        fetch=_fetch_emnist,
    ),
}

"""The images of the benchmarks: Fashion-MNIST where it is found, else the subset in the package, repeated."""

import torch
from torch import Tensor

from fcdd import datasets

NOMINAL = 6_000  # images of one class in Fashion-MNIST


def name() -> str:
    """The data set that is there: where the whole of it is missing, times are the same, but AUROCs are not."""
    try:
        datasets.where("fashion-mnist")
    except FileNotFoundError:
        return "fashion-mnist-small"
    return "fashion-mnist"


def fashion_mnist(quick: bool) -> Tensor:
    """All training images (N, 1, 28, 28) uint8, a few if ``quick``; those of the package are repeated to 60,000."""
    images = datasets.load_all("fashion-mnist-small" if quick else name())
    return images[:500] if quick else repeated(images, 10 * NOMINAL)


def one_class(normal: str, quick: bool, count: int = NOMINAL) -> tuple[datasets.Split, Tensor]:
    """A data set with one class as nominal, and ``count`` training images of that class."""
    split = datasets.load("fashion-mnist-small" if quick else name(), normal)
    return split, repeated(split.train.images, 40 if quick else count)


def repeated(images: Tensor, count: int) -> Tensor:
    """The first ``count`` images, from the start again where there are fewer."""
    return images[torch.arange(count) % len(images)]

"""Batched augmentation and normalisation: whole batches, on the device, no loop over images.

Source of the recipes: Liznerski et al. 2021 and the official code (local contrast normalisation is called global
contrast normalisation in the Deep SVDD paper). Taught in: chapter 05.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def lcn(images: Tensor) -> Tensor:
    r"""Local contrast normalisation, L1: :math:`(x - \bar x) / \frac1m \sum_j |x_j - \bar x|` for each image.

    ``images`` float (N, C, H, W); mean and scale run over all channels and pixels of an image. A blank image stays 0.
    """
    centred = images - images.mean((1, 2, 3), keepdim=True)
    scale = centred.abs().mean((1, 2, 3), keepdim=True)
    return centred / torch.where(scale == 0, 1, scale)


def as_float(images: Tensor) -> Tensor:
    """uint8 0…255 to float32 0…1; float passes through."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def as_uint8(images: Tensor) -> Tensor:
    """float 0…1 to uint8 0…255, rounded; uint8 passes through."""
    return images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)


class Normalisation(NamedTuple):
    """``(x - shift) / scale`` per channel, after LCN if ``contrast``; made by :func:`fit_normalisation`."""

    contrast: bool
    shift: Tensor  # (C, 1, 1)
    scale: Tensor  # (C, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        images = as_float(images)
        images = lcn(images) if self.contrast else images
        return (images - self.shift.to(images.device)) / self.scale.to(images.device)


def fit_normalisation(images: Tensor, kind: str = "lcn") -> Normalisation:
    """Normalisation whose constants come from the nominal training ``images`` (N, C, H, W), never from a table.

    ``kind``: ``"lcn"`` LCN-L1, then min–max per channel; ``"standard"`` mean and deviation per channel; ``"unit"``
    only scales to [0, 1]. Raises ValueError for another kind.
    """
    x = as_float(images)
    blank = torch.zeros(x.shape[1], 1, 1, device=x.device)
    if kind == "unit":
        return Normalisation(False, blank, blank + 1)
    if kind == "standard":
        shift, scale = x.mean((0, 2, 3)), x.std((0, 2, 3))
    elif kind == "lcn":
        x = lcn(x)
        shift, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        scale = high - shift
    else:
        raise ValueError(f"unknown normalisation {kind!r}; known: lcn, standard, unit")
    scale = torch.where(scale == 0, 1, scale)
    return Normalisation(kind == "lcn", shift[:, None, None], scale[:, None, None])


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """Pads with black on all sides and cuts the old size out again, at a place drawn for each image."""
    n, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator, device=images.device)
    rows = top[:, None, None] + torch.arange(height, device=images.device)[:, None]
    columns = left[:, None, None] + torch.arange(width, device=images.device)
    return padded[torch.arange(n, device=images.device)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    flip = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def crop_and_flip(images: Tensor, generator: Generator) -> Tensor:
    """The papers' augmentation of small images: random crop, padded by 2 px (28 px images) or 4 px, and flip."""
    return random_flip(random_crop(images, padding=2 if images.shape[2] <= 28 else 4, generator=generator), generator)

"""Outlier exposure: where anomalous training images come from, and confetti noise for when there are none.

Every source is a function ``draw(nominal, generator) -> images`` that returns one outlier for each nominal image of
the batch, same shape, uint8. Source: Hendrycks et al. 2019; Liznerski et al. 2021 (confetti).
Taught in: chapters 04 (exposure) and 06 (confetti).
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Generator, Tensor
from torch.nn import functional as F

from . import datasets
from .augment import as_uint8
from .checks import as_images

Draw = Callable[[Tensor, Generator], Tensor]


def source(
    exposure, channels: int, size: tuple[int, int], *, seed: int = 0, limit: int | None = None, device="cpu"
) -> Draw:
    """The source named by ``exposure``, for images of ``channels`` channels and ``size`` = (H, W).

    ``"photographs"``: crops of scikit-learn's two photographs; ``"confetti"``: blobs pasted on the nominal images;
    a data set's name: its training images; a folder of images; an array (N, C, H, W). ``limit`` keeps that many
    images, drawn once by ``seed``. Raises ValueError or FileNotFoundError for anything else.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 exposure image, or None for all, got {limit}")
    if isinstance(exposure, str) and exposure == "confetti":
        return confetti
    if isinstance(exposure, str) and exposure == "photographs":
        bank = photographs(channels, size, seed=seed)
    elif isinstance(exposure, str) and exposure in datasets.names():
        bank = datasets.load_all(exposure)
    elif isinstance(exposure, (str, Path)):
        if not Path(exposure).is_dir():
            raise ValueError(
                f"unknown exposure {str(exposure)!r}: no such folder; expected 'photographs', 'confetti', one of the "
                f"data sets {', '.join(datasets.names())}, a folder of images, an array or None"
            )
        bank = datasets.image_folder(exposure, size=size, channels=channels)
    else:
        bank = as_images(exposure, "exposure")
    bank = fit_to(bank, channels, size)
    if limit is not None:
        bank = bank[torch.randperm(len(bank), generator=Generator().manual_seed(seed))[:limit]]
    return from_bank(bank.to(device))


def from_bank(bank: Tensor) -> Draw:
    """Draws from a fixed set of images with equal probability, so that no image follows another in a fixed order."""

    def draw(nominal: Tensor, generator: Generator) -> Tensor:
        return bank[torch.randint(len(bank), (len(nominal),), generator=generator, device=bank.device)]

    return draw


def fit_to(images: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """uint8 images of the given channels and size: grey by luminance, resized with antialiasing where needed."""
    images = as_uint8(images)
    if images.shape[1] == 3 and channels == 1:
        weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        images = (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    elif images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    if tuple(images.shape[2:]) != tuple(size):
        images = F.interpolate(images, size=tuple(size), mode="bilinear", antialias=True)
    return images


def photographs(channels: int, size: tuple[int, int], *, count: int | None = None, seed: int = 0) -> Tensor:
    """``count`` random crops of scikit-learn's two photographs at eight scales, (count, C, H, W) uint8.

    By default 10,000, or as many as fit into 200 MB.

    A crop's side runs from the image size (fine texture) to the whole photograph (a scene); the photograph is shrunk
    with antialiasing first, then windows are cut out, mirrored half of the time.
    """
    count = count or min(10_000, 200_000_000 // (channels * size[0] * size[1]))
    generator = Generator().manual_seed(seed)
    levels = []
    for photograph in load_sample_images().images:
        whole = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None]
        smallest = max(size[0] / whole.shape[2], size[1] / whole.shape[3])
        for scale in np.geomspace(min(smallest, 1), 1, 8):
            sides = [max(math.ceil(side * scale), least) for side, least in zip(whole.shape[2:], size, strict=True)]
            levels.append(fit_to(whole, channels, sides))
    each = -(-count // len(levels))
    crops = torch.cat([_windows(level, size, each, generator) for level in levels])
    crops = crops[torch.randperm(len(crops), generator=generator)[:count]]
    flip = torch.rand(len(crops), 1, 1, 1, generator=generator) < 0.5
    return torch.where(flip, crops.flip(3), crops)


def _windows(image: Tensor, size, count: int, generator: Generator) -> Tensor:
    """``count`` windows of ``size`` at random places of one image (1, C, H, W)."""
    windows = image[0].unfold(1, size[0], 1).unfold(2, size[1], 1)  # (C, rows, columns, h, w), a view
    rows = torch.randint(windows.shape[1], (count,), generator=generator)
    columns = torch.randint(windows.shape[2], (count,), generator=generator)
    return windows[:, rows, columns].transpose(0, 1)


def confetti(nominal: Tensor, generator: Generator) -> Tensor:
    """Pastes blurred, rotated squares on nominal images (N, C, H, W) uint8: synthetic defects.

    A few dark and a few coloured squares a picture, with sides from 1/30 to 1/4 of it, as in the paper; where a blob
    would vanish on a dark ground its sign is flipped. The exact statistics of the official code are chapter 06's.
    """
    n, channels, height, width = nominal.shape
    device = nominal.device

    def draw(*shape):
        return torch.rand(*shape, generator=generator, device=device)

    blobs = 6
    present = draw(n, blobs) < 0.5
    present[:, 0] = True
    side = (1 / 30 + (1 / 4 - 1 / 30) * draw(n, blobs)) * max(height, width)
    middle_y, middle_x, turn = draw(n, blobs) * height, draw(n, blobs) * width, (draw(n, blobs) - 0.5) * math.pi / 2
    colour = torch.where(
        draw(n, blobs, 1) < 0.45, torch.ones(n, blobs, channels, device=device), draw(n, blobs, channels)
    )
    rows = torch.arange(height, device=device)[:, None] + 0.5 - middle_y[..., None, None]
    columns = torch.arange(width, device=device) + 0.5 - middle_x[..., None, None]
    sine, cosine = turn.sin()[..., None, None], turn.cos()[..., None, None]
    reach = torch.maximum((cosine * rows + sine * columns).abs(), (cosine * columns - sine * rows).abs())
    squares = (reach < side[..., None, None] / 2) & present[..., None, None]
    noise = -255 * torch.einsum("nbhw,nbc->nchw", squares.float(), colour)
    noise = _blur(noise, sigma=max(height, width) * 5 / 240)
    darker, brighter = (nominal + noise).clamp(0, 255), (nominal - noise).clamp(0, 255)
    changed = (darker - nominal).abs().mean((1, 2, 3), keepdim=True)
    return torch.where(changed < 0.025, brighter, darker).round().to(torch.uint8)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, one row and one column pass; black outside."""
    reach = math.ceil(2.5 * sigma)
    steps = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    rows = F.conv2d(images, kernel, padding=(0, reach), groups=images.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), padding=(reach, 0), groups=images.shape[1])

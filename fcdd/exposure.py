"""Outlier exposure: where anomalous training images come from.

Every source is a function ``draw(nominal, generator) -> images, masks`` that returns one outlier for each nominal image
of the batch, same shape, uint8, and where it is anomalous, (N, 1, H, W) boolean, or None for all over. Source:
Hendrycks et al. 2019; Liznerski et al. 2021 (confetti). Taught in: chapters 04 (exposure) and 06 (confetti).
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Generator, Tensor
from torch.nn import functional as F

from . import datasets
from .augment import as_uint8, luminance
from .checks import as_images
from .confetti import confetti, confetti_with_masks

Draw = Callable[[Tensor, Generator], tuple[Tensor, Tensor | None]]
PASTED = {
    "confetti": lambda nominal, generator: (confetti(nominal, generator), None),
    "confetti-masks": confetti_with_masks,
}
BLOCK = 1024  # images that are converted at a time, so that 100,000 of them do not fill the memory as floats


def source(
    exposure, channels: int, size: tuple[int, int], *, nominal: Tensor | None = None, device="cpu", **chosen
) -> Draw:
    """The source named by ``exposure``, for images of ``channels`` channels and ``size`` = (H, W).

    ``"photographs"``: crops of scikit-learn's two photographs; ``"confetti"``: squares pasted on the nominal images,
    which count as anomalous all over, or with ``"confetti-masks"`` only where they were changed; a data set's name: its
    training images; a folder of images; an array (N, C, H, W). ``chosen``, as in :func:`bank`: ``limit`` keeps that
    many images, drawn once by ``seed``; ``without`` leaves out classes of a data set, as in
    :func:`fcdd.datasets.load_all`, or sub-folders of a folder. With ``nominal``, the nominal training images
    (N, C, H, W), there is a warning if the exposure holds some of them. Raises ValueError or FileNotFoundError for
    anything else.
    """
    images = bank(exposure, channels, size, **chosen)
    if images is None:
        return PASTED[exposure]  # type: ignore[return-value]
    if nominal is not None:
        _warn_of_nominal(images, as_images(nominal, "nominal", channels, tuple(size)))
    return from_bank(images.to(device))


def bank(exposure, channels: int, size: tuple[int, int], *, seed=0, limit=None, without=None) -> Tensor | None:
    """The images (N, C, H, W) uint8 that :func:`source` draws from; None where outliers are made of nominal images."""
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 exposure image, or None for all, got {limit}")
    named = isinstance(exposure, str)
    if without is not None and (exposure in (*PASTED, "photographs") if named else not isinstance(exposure, Path)):
        what = f"exposure={exposure!r}" if named else "an array"
        raise ValueError(f"expected exposure_without for a data set or a folder only, got {without!r} for {what}")
    if named and exposure in PASTED:
        return None
    if named and exposure in datasets.names():
        return fit_to(datasets.load_all(exposure, without=without, size=size, limit=limit, seed=seed), channels, size)
    if named and exposure == "photographs":
        images = photographs(channels, size, seed=seed)
    elif named or isinstance(exposure, Path):
        images = _folder(exposure, channels, size, without)
    else:
        images = fit_to(as_images(exposure, "exposure"), channels, size)
    if limit is not None:
        images = images[torch.randperm(len(images), generator=Generator().manual_seed(seed))[:limit]]
    return images


def _folder(exposure, channels: int, size, without) -> Tensor:
    if not Path(exposure).is_dir():
        raise ValueError(
            f"unknown exposure {str(exposure)!r}: no such folder; expected 'photographs', 'confetti', "
            f"'confetti-masks', one of the data sets {', '.join(datasets.names())}, a folder, an array or None"
        )
    without = [without] if isinstance(without, str) else without or ()
    datasets.check_known(without, [p.name for p in sorted(Path(exposure).iterdir()) if p.is_dir()], "sub-folder")
    return datasets.image_folder(exposure, size=size, channels=channels, without=without)


def _warn_of_nominal(bank: Tensor, nominal: Tensor) -> None:
    """Warns of exposure images that are equal, pixel by pixel, to nominal training images."""
    outliers, normal = _hashes(bank), _hashes(nominal)
    held, shared = np.isin(normal, outliers).sum(), np.isin(outliers, normal).mean()
    if held:
        warnings.warn(
            f"the exposure set holds {held:,} of your {len(normal):,} nominal images ({100 * shared:.3g} % of its "
            f"{len(outliers):,} images), which training would call nominal and anomalous at once; leave their class "
            "out with exposure_without=...",
            stacklevel=3,
        )


def distinct(images: Tensor) -> np.ndarray:
    """The places of the different images among (N, C, H, W), the first of each."""
    return np.unique(_hashes(images), return_index=True)[1]


def _hashes(images: Tensor) -> np.ndarray:
    """A 64-bit number for each image: its bytes times fixed random odd numbers, modulo 2⁶⁴; two different images have
    the same one with probability 2⁻⁵⁶ or less."""
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, images[0].numel()) * 2 + 1
    blocks = images.split(BLOCK)
    return np.concatenate([as_uint8(b).flatten(1).cpu().numpy().astype(np.int64) @ weights for b in blocks])


def from_bank(bank: Tensor) -> Draw:
    """Draws from a fixed set of images with equal probability, so that no image follows another in a fixed order."""

    def draw(nominal: Tensor, generator: Generator) -> tuple[Tensor, None]:
        return bank[torch.randint(len(bank), (len(nominal),), generator=generator, device=bank.device)], None

    return draw


def fit_to(images: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """uint8 images of the given channels and size: grey by luminance, resized with antialiasing where needed."""
    if (images.shape[1], *images.shape[2:]) == (channels, *size):
        return as_uint8(images)
    return torch.cat([_fit_block(block, channels, size) for block in images.split(BLOCK)])


def _fit_block(images: Tensor, channels: int, size) -> Tensor:
    images = as_uint8(images)
    if channels == 1:
        images = luminance(images.float()).round().to(torch.uint8)
    if tuple(images.shape[2:]) != tuple(size):
        images = F.interpolate(images.float(), size=tuple(size), mode="bilinear", antialias=True)
    return images.round().to(torch.uint8).expand(-1, channels, -1, -1)


def photographs(channels: int, size: tuple[int, int], *, count: int | None = None, seed: int = 0) -> Tensor:
    """``count`` random crops of scikit-learn's two photographs at eight scales, (count, C, H, W) uint8.

    By default 10,000, or as many as fit into 200 MB. A crop's side runs from the image size (fine texture) to the whole
    photograph (a scene); it is shrunk with antialiasing first, then windows are cut out, half of them mirrored.
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
    rows, columns = (torch.randint(most, (count,), generator=generator) for most in windows.shape[1:3])
    return windows[:, rows, columns].transpose(0, 1)

"""Batched augmentation and normalisation: whole batches, on the device, no loop over images.

Source of the recipes: Liznerski et al. 2021 and the official code (the Deep SVDD paper calls local contrast
normalisation global). Taught in: chapter 05.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from .checks import check_option

Draws = Generator | Sequence[Generator]  # one stream of random numbers, or one for each of equal parts of a batch


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
    shift: Tensor  # (C, 1, 1), or (M, C, 1, 1) for M equal parts of a batch
    scale: Tensor  # likewise

    def __call__(self, images: Tensor) -> Tensor:
        images = lcn(as_float(images)) if self.contrast else as_float(images)
        shift, scale = self.shift.to(images.device), self.scale.to(images.device)
        if shift.ndim == 4:
            shift, scale = of_each_row(shift, images), of_each_row(scale, images)
        return (images - shift) / scale

    def to(self, device) -> "Normalisation":
        """With its constants on the device, where they need not be copied for each batch."""
        return Normalisation(self.contrast, self.shift.to(device), self.scale.to(device))


def of_each_row(values: Tensor, rows: Tensor) -> Tensor:
    """``values`` (M, ...), one for each of M equal parts of a batch, spread over its ``rows`` (M·B, ...)."""
    return values.repeat_interleave(len(rows) // len(values), 0)


def fit_normalisation(images: Tensor, kind: str = "lcn") -> Normalisation:
    """Normalisation whose constants come from the nominal training ``images`` (N, C, H, W), never from a table.

    ``kind``: ``"lcn"`` LCN-L1, then min–max per channel; ``"standard"`` mean and deviation per channel; ``"unit"``
    only scales to [0, 1], ``"signed"`` to [-1, 1]; ``"imagenet"`` the constants of networks pretrained on ImageNet, the
    one exception, which the weights demand. Raises ValueError for another kind.
    """
    check_option("normalisation", kind, ("lcn", "standard", "unit", "signed", "imagenet"))
    x = as_float(images if kind in ("lcn", "standard") else images[:1])  # the others are constants
    if kind == "imagenet":
        if x.shape[1] != 3:
            raise ValueError(f"expected RGB images for normalisation 'imagenet', got {x.shape[1]} channel")
        shift, scale = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], device=x.device)
    elif kind in ("unit", "signed"):
        shift = x.new_zeros(x.shape[1]) + (0.5 if kind == "signed" else 0)
        scale = x.new_ones(x.shape[1]) - shift
    elif kind == "standard":
        shift, scale = x.mean((0, 2, 3)), x.std((0, 2, 3))
    else:
        x = lcn(x)
        shift, scale = x.amin((0, 2, 3)), x.amax((0, 2, 3)) - x.amin((0, 2, 3))
    return Normalisation(kind == "lcn", shift[:, None, None], torch.where(scale == 0, 1, scale)[:, None, None])


def draw(sample: Callable, shape, generator: Draws, device) -> Tensor:
    """Random numbers of ``shape`` from ``sample``, such as ``torch.rand``; the first axis runs over images.

    Of several generators each draws one of as many equal parts of the images: a model that is trained beside others
    sees the same numbers as alone.
    """
    if isinstance(generator, Generator):
        return sample(shape, generator=generator, device=device)
    part = (shape[0] // len(generator), *shape[1:])
    return torch.cat([sample(part, generator=one, device=device) for one in generator])


def random_crop(images: Tensor, padding: int, generator: Draws) -> Tensor:
    """Pads with black on all sides and cuts the old size out again, at a place drawn for each image."""
    n, channels, height, width = images.shape
    padded, device = F.pad(images, (padding,) * 4), images.device
    top, left = draw(partial(torch.randint, 2 * padding + 1), (n, 2), generator, device).T[..., None, None, None]
    rows, columns = top + torch.arange(height, device=device)[:, None], left + torch.arange(width, device=device)
    # The index of the channel stands beside the others, so that the crops lie in memory as the images did.
    image, channel = torch.arange(n, device=device), torch.arange(channels, device=device)
    return padded[image[:, None, None, None], channel[:, None, None], rows, columns]


def random_flip(images: Tensor, generator: Draws) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    flip = draw(torch.rand, (len(images), 1, 1, 1), generator, images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def color_jitter(images: Tensor, strength: float | Tensor, generator: Draws) -> Tensor:
    """Brightness, contrast, saturation and hue of each image changed at random; float (N, C, H, W) in [0, 1].

    Factors are uniform in 1 ± ``strength``, one number or (4, N, 1, 1, 1) for each change and image; hue turns by up to
    ``strength`` of a full turn about the grey axis; grey has no saturation or hue. Recipe: Liznerski et al. 2021.
    """
    n, channels = images.shape[:2]
    drawn = draw(torch.rand, (n, 4), generator, images.device).T.reshape(4, n, 1, 1, 1)
    factors = 1 + strength * (2 * drawn - 1)
    images = (images * factors[0]).clamp_(0, 1)
    mean = luminance(images.mean((2, 3), keepdim=True))
    images = torch.addcmul((1 - factors[1]) * mean, factors[1], images).clamp_(0, 1)
    if channels == 1:
        return images
    # One matrix does both saturation and hue, as no turn moves a grey pixel.
    weights = luminance(torch.eye(3, device=images.device)[..., None, None]).flatten()
    matrix = factors[2][..., 0] * hue_matrix((factors[3] - 1)[:, 0, 0]) + (1 - factors[2][..., 0]) * weights
    return (matrix @ images.flatten(2)).reshape(images.shape).clamp_(0, 1)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotates the colours of each RGB image (N, 3, H, W) about the grey axis, ``turns`` (N, 1) in full turns."""
    return torch.einsum("nij,njhw->nihw", hue_matrix(turns), images)


def hue_matrix(turns: Tensor) -> Tensor:
    """(N, 3, 3) rotations about the grey axis of the RGB cube."""
    angle = 2 * math.pi * turns
    keep = angle.cos() + (1 - angle.cos()) / 3
    back, ahead = ((1 - angle.cos()) / 3 + sign * angle.sin() / math.sqrt(3) for sign in (-1, 1))
    return torch.stack([keep, back, ahead, ahead, keep, back, back, ahead, keep], 1).reshape(-1, 3, 3)


LUMINANCE = (0.299, 0.587, 0.114)  # weights of ITU-R BT.601; numbers, as a tensor would have to be sent to the device


def luminance(images: Tensor) -> Tensor:
    """(N, 3, H, W) → (N, 1, H, W) by :data:`LUMINANCE`; grey images pass through. Float in, float out."""
    if images.shape[1] == 1:
        return images
    return sum(weight * channel for weight, channel in zip(LUMINANCE, images.split(1, 1), strict=True))


def papers_recipe(images: Tensor, masks: Tensor | None, generator: Draws):
    """The papers' augmentation of small images: random crop and flip; colour images are also jittered and noisy.

    The crop is padded by 2 px (28 px images) or 4 px; jitter has strength .01, noise a deviation of .001. Masks
    (N, 1, H, W) or None move with their images. Returns both.
    """
    colour, padding = images.shape[1] == 3, 2 if images.shape[2] <= 28 else 4
    if colour:
        images = color_jitter(as_float(images), 0.01, generator)
    moved, masks = _together(images, masks, lambda x: random_flip(random_crop(x, padding, generator), generator))
    if colour:
        moved = moved + 0.001 * draw(torch.randn, tuple(moved.shape), generator, moved.device)
    return moved, masks


def _together(images: Tensor, masks: Tensor | None, move: Callable) -> tuple[Tensor, Tensor | None]:
    """Both moved alike: masks ride along as one more channel."""
    if masks is None:
        return move(images), None
    moved = move(torch.cat([images, masks.to(images.dtype)], 1))
    return moved[:, :-1], moved[:, -1:] > 0.5


# Strong and weak jitter of brightness, contrast, saturation and hue: each image of a part gets one column.
JITTER = ((0.04, 0.005), (0.04, 0.0005), (0.04, 0.0005), (0.04, 0.0005))
ZOOM = 224 / 240  # the share of the side that a crop keeps


def parts_recipe(images: Tensor, masks: Tensor | None, generator: Generator, turns: bool = False):
    """Augmentation of photographed parts, which always lie the same way: no flips.

    Half of the images are shown whole, half as a crop of 14/15 of the side at a random place, enlarged to the old size;
    jitter is strong (.04) or weak; half get noise of a tenth of their own deviation. ``turns``: also turned by a random
    multiple of 90° (of 180° unless square), for parts without a way up; a mirrored screw would have a left-handed
    thread. Masks (N, 1, H, W) or None move with their images. Returns float images in [0, 1] and masks.
    Source: Liznerski et al. 2021, the recipe for MVTec-AD in the official code.
    """
    n, device = len(images), images.device

    def move(x):
        return random_zoom(random_turn(x, generator) if turns else x, generator)

    moved, masks = _together(as_float(images), masks, move)
    weak = torch.randint(2, (n, 1, 1, 1), generator=generator, device=device)
    moved = color_jitter(moved, torch.stack([much + weak * (little - much) for much, little in JITTER]), generator)
    # Noise for all, of which half is multiplied by 0: how many images are noisy, a GPU would have to be waited for.
    noisy = torch.rand(n, 1, 1, 1, generator=generator, device=device) < 0.5
    noise = torch.randn(moved.shape, generator=generator, device=device)
    return moved.addcmul_(0.1 * noisy * deviation(moved), noise).clamp_(0, 1), masks


def deviation(images: Tensor) -> Tensor:
    """(N, 1, 1, 1) standard deviation of each image; ten times as fast as ``std`` over three dimensions."""
    centred = images - images.mean((1, 2, 3), keepdim=True)
    return torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True) / math.sqrt(images.shape[1:].numel() - 1)


def random_zoom(images: Tensor, generator: Generator) -> Tensor:
    """Each image whole, or with probability one half a crop of ``ZOOM`` times its sides, enlarged bilinearly; float."""
    n, device = len(images), images.device
    closer = torch.rand(n, 1, 1, 1, generator=generator, device=device) < 0.5
    # In the coordinates of grid_sample a side runs from -1 to 1, so a crop's center may move by 1 - ZOOM.
    shift = (2 * torch.rand(n, 2, 1, generator=generator, device=device) - 1) * (1 - ZOOM)
    zoom = ZOOM * torch.eye(2, device=device).expand(n, 2, 2)
    grid = F.affine_grid(torch.cat([zoom, shift], 2), list(images.shape), align_corners=False)
    crops = F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    return torch.where(closer, crops, images)


def random_turn(images: Tensor, generator: Generator) -> Tensor:
    """Turns each image by a multiple of 90° drawn for it; by 0° or 180° if they are not square."""
    quarter, half = torch.rand(2, len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    if images.shape[2] == images.shape[3]:
        images = torch.where(quarter, images.rot90(1, (2, 3)), images)
    return torch.where(half, images.flip(2, 3), images)


RECIPES = {"papers": papers_recipe, "parts": parts_recipe, "parts-any-way-up": partial(parts_recipe, turns=True)}


def recipe(augmentation: bool | str):
    """What a detector's parameter ``augmentation`` stands for: None if False, :func:`papers_recipe` if True, or one of
    :data:`RECIPES` by name. Raises ValueError for another name."""
    if isinstance(augmentation, str):
        if augmentation not in RECIPES:
            raise ValueError(f"unknown augmentation {augmentation!r}; known: True, False, {', '.join(RECIPES)}")
        return RECIPES[augmentation]
    return papers_recipe if augmentation else None

r"""Confetti noise: synthetic defects for training when there are no real ones.

A few rotated squares, dark or coloured, are blurred and taken off the light of a nominal image. The numbers are those
of the official FCDD code, which draws at 240×240 px; here lengths grow with the image, the number of squares does not.
Three things differ, none of them visible: a square has its own colour (there, squares of one side length in one batch
share one), its center lies anywhere, not only on whole pixels, and turning one square does not cut into its neighbours.
Source: Liznerski et al. 2021, section 4.2 and the official code. Taught in: chapter 06.
"""

import math

import torch
from scipy import stats
from torch import Generator, Tensor
from torch.nn import functional as F

SIDE = 240  # the image side in px that all lengths below are meant for
COLOURED, WHITE = 1.8e-5, 1.2e-5  # probability of a square at a pixel: 1.04 and 0.69 an image, 1.61 and 1.39 if ≥ 1
SIDES = (8, 54)  # a square's side, both included
TURN = math.pi / 4  # to either side
REACH, SIGMA = 12, 5.0  # of the blur: 25 taps
VISIBLE = 0.025  # mean change in grey levels below which the noise is turned into light


def confetti(nominal: Tensor, generator: Generator, **options) -> Tensor:
    """One synthetic anomaly for each nominal image, the images alone of :func:`confetti_with_masks`."""
    return confetti_with_masks(nominal, generator, **options)[0]


def confetti_with_masks(
    nominal: Tensor, generator: Generator, *, sides: tuple[int, int] = SIDES
) -> tuple[Tensor, Tensor]:
    """Synthetic anomalies (N, C, H, W) uint8 and their masks (N, 1, H, W), True where any channel differs.

    ``nominal`` (N, C, H, W) uint8, on the device of ``generator``, which alone decides the result; ``sides`` the
    smallest and the largest side of a square, in px of a 240×240 image. The masks reach as far as the blur does.
    Raises ValueError for other dtypes.
    """
    if nominal.dtype != torch.uint8:
        raise ValueError(f"expected uint8 images, got {nominal.dtype}; use fcdd.augment.as_uint8")
    shape = tuple(nominal.shape)
    coloured = _layer(shape, COLOURED, sides, generator, coloured=True)
    change = coloured + _layer((shape[0], 1, *shape[2:]), WHITE, sides, generator)  # alike in all channels
    change = _blur(change).to(torch.int16)  # towards zero, as in the official code
    before = nominal.to(torch.int16)
    images = (before + change).clamp_(0, 255)
    lost = (before - images).float().mean((1, 2, 3))
    dim = (lost < VISIBLE).nonzero()[:, 0]
    if len(dim):  # on black ground nothing can be taken away: squares are added there
        brighter = (before[dim] - change[dim]).clamp_(0, 255)
        gained = (brighter - before[dim]).float().mean((1, 2, 3)) > lost[dim]
        images[dim[gained]] = brighter[gained]
    images = images.to(torch.uint8)
    return images, (images != nominal).any(1, keepdim=True)


def _layer(shape, probability, sides, generator, coloured=False) -> Tensor:
    """Noise (N, C, H, W) of one kind of squares, at least one an image; colours are whole numbers from -256 to -1."""
    n, channels, height, width = shape
    device = generator.device
    scale = math.sqrt(height * width) / SIDE
    counts = _counts(n, probability, generator)
    owner = torch.repeat_interleave(torch.arange(n, device=device), counts)
    squares = len(owner)
    side = torch.randint(sides[0], sides[1] + 1, (squares,), generator=generator, device=device)
    # The larger square lies on top, as in the official code; both orders are the image's own.
    side, order = side.sort(stable=True)
    owner = owner[order]
    center = torch.rand(squares, 2, generator=generator, device=device) * torch.tensor([height, width], device=device)
    turn = TURN * (2 * torch.rand(squares, generator=generator, device=device) - 1)
    colour = torch.full((squares, channels), -255.0, device=device)
    if coloured:
        colour = torch.randint(-256, 0, (squares, channels), generator=generator, device=device).float()
    window = torch.arange(-math.ceil(0.75 * sides[1] * scale), math.ceil(0.75 * sides[1] * scale) + 1, device=device)
    rows = (center[:, :1].floor() + window)[:, :, None]
    columns = (center[:, 1:].floor() + window)[:, None]
    down, right = rows + 0.5 - center[:, 0, None, None], columns + 0.5 - center[:, 1, None, None]
    sine, cosine = turn.sin()[:, None, None], turn.cos()[:, None, None]
    far = torch.maximum((cosine * down + sine * right).abs(), (cosine * right - sine * down).abs())
    inside = (far < side[:, None, None] * scale / 2) & (rows >= 0) & (rows < height) & (columns >= 0)
    square, row, column = (inside & (columns < width)).nonzero().T
    pixel = (owner[square] * height + rows[square, row, 0].long()) * width + columns[square, 0, column].long()
    top = torch.zeros(n * height * width, dtype=torch.int32, device=device)
    top.scatter_reduce_(0, pixel, (square + 1).int(), "amax")
    colour = torch.cat([torch.zeros(1, channels, device=device), colour])
    # Channel by channel, as the blur wants them in memory.
    return colour.T.contiguous().index_select(1, top).reshape(channels, n, height, width).transpose(0, 1)


def _counts(n: int, probability: float, generator: Generator) -> Tensor:
    """(n,) numbers of squares: binomial over all pixels, given that there is at least one."""
    law = stats.binom(SIDE**2, probability)
    below = torch.tensor((law.cdf(range(1, 30)) - law.pmf(0)) / law.sf(0), device=generator.device)
    drawn = torch.rand(n, generator=generator, device=generator.device, dtype=below.dtype)
    return torch.searchsorted(below, drawn).clamp_(max=28) + 1


def _blur(images: Tensor) -> Tensor:
    """Gaussian blur with mirrored borders, as two matrix products: faster than convolutions of one channel."""
    scale = math.sqrt(images.shape[2] * images.shape[3]) / SIDE
    rows, columns = (_blur_matrix(side, scale, images) for side in images.shape[2:])
    return rows @ images @ columns.T


def _blur_matrix(side: int, scale: float, like: Tensor) -> Tensor:
    reach = min(round(REACH * scale), side - 1)
    steps = torch.arange(-reach, reach + 1, device=like.device)
    kernel = torch.exp(-(steps**2) / (2 * (SIGMA * scale) ** 2))
    mirrored = F.pad(torch.eye(side, device=like.device)[None], (reach, reach), mode="reflect")[0]  # (side, wider)
    return (mirrored.unfold(1, 2 * reach + 1, 1) @ (kernel / kernel.sum())).T

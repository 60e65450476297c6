r"""Confetti noise: synthetic defects for training when there are no real ones.

A few rotated squares, dark or coloured, are blurred and taken off the light of a nominal image. The numbers are those
of the official FCDD code, which draws at 240×240 px; here lengths grow with the image, the number of squares does not.
Three things differ, none visible: each square has its own colour (there, those of one side length in a batch share it),
its center lies anywhere, not only on whole pixels, and turning one does not cut into its neighbours. Source: Liznerski
et al. 2021, section 4.2 and the official code. Taught in: chapter 06.
"""

import math
from functools import cache

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


def confetti_with_masks(nominal: Tensor, generator: Generator, *, sides=SIDES) -> tuple[Tensor, Tensor]:
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
    # On black ground nothing can be taken away: squares are added there.
    brighter = (before - change).clamp_(0, 255)
    lost, gained = ((before - images).float().mean((1, 2, 3)), (brighter - before).float().mean((1, 2, 3)))
    images = torch.where(((lost < VISIBLE) & (gained > lost))[:, None, None, None], brighter, images).to(torch.uint8)
    return images, (images != nominal).any(1, keepdim=True)


def _layer(shape, probability, sides, generator, coloured=False) -> Tensor:
    """Noise (N, C, H, W) of one kind of squares, at least one an image; colours are whole numbers from -256 to -1."""
    n, channels, height, width = shape
    device, scale = generator.device, math.sqrt(height * width) / SIDE
    ends = _counts(n, probability, generator).cumsum(0)
    # As many squares as never are too few; those behind the last image's are not painted. No GPU is waited for.
    squares = _most(n, probability)
    owner = torch.searchsorted(ends, torch.arange(squares, device=device), right=True)
    side = torch.randint(sides[0], sides[1] + 1, (squares,), generator=generator, device=device)
    # The larger square lies on top, as in the official code; both orders are the image's own.
    side, order = side.sort(stable=True)
    owner = owner[order][:, None, None]
    down, right = torch.rand(2, squares, 1, 1, generator=generator, device=device)
    down, right = down * height, right * width
    turn = TURN * (2 * torch.rand(squares, 1, 1, generator=generator, device=device) - 1)
    colour = torch.full((squares + 1, channels), -255.0, device=device)
    if coloured:
        colour = torch.randint(-256, 0, (squares + 1, channels), generator=generator, device=device).float()
    colour[0] = 0  # where there is no square
    reach = math.ceil(0.75 * sides[1] * scale)
    window = torch.arange(-reach, reach + 1, device=device)
    rows, columns = down.floor().long() + window[:, None], right.floor().long() + window
    down, right, sine, cosine = rows + 0.5 - down, columns + 0.5 - right, turn.sin(), turn.cos()
    far = torch.maximum((cosine * down + sine * right).abs(), (cosine * right - sine * down).abs())
    inside = (far < side[:, None, None] * scale / 2) & (owner < n)
    inside &= (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixel = torch.where(inside, (owner * height + rows) * width + columns, 0)
    square = inside * torch.arange(1, squares + 1, dtype=torch.int32, device=device)[:, None, None]
    top = torch.zeros(n * height * width, dtype=torch.int32, device=device)
    top.scatter_reduce_(0, pixel.flatten(), square.flatten(), "amax")
    # Channel by channel, as the blur wants them in memory.
    return colour.T.contiguous().index_select(1, top).reshape(channels, n, height, width).transpose(0, 1)


@cache
def _law(probability: float) -> tuple[list[float], float, float]:
    """Squares of an image, binomial over all pixels, given that there is at least one: shares with at most 1, 2, …,
    their mean and variance."""
    law = stats.binom(SIDE**2, probability)
    some, mean = law.sf(0), law.mean() / law.sf(0)
    shares = (law.cdf(range(1, 30)) - law.pmf(0)) / some
    return shares[shares < 1 - 1e-7].tolist(), mean, (law.var() + law.mean() ** 2) / some - mean**2


def _counts(n: int, probability: float, generator: Generator) -> Tensor:
    """(n,) numbers of squares, drawn by comparison with numbers, as no table of them need be sent to the device."""
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return 1 + torch.stack([drawn > share for share in _law(probability)[0]]).sum(0)


def _most(n: int, probability: float) -> int:
    """More squares than n images ever have: seven deviations above the mean, and as many for few images."""
    _, mean, variance = _law(probability)
    return math.ceil(n * mean + 7 * math.sqrt(n * variance) + 7)


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

r"""Receptive-field arithmetic and the Gaussian upsampling that turns a small map into a heatmap.

Source: Liznerski et al. 2021, section 3 and algorithm 1. Taught in: chapter 05.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class ReceptiveField(NamedTuple):
    """What one pixel of the output map sees, in input pixels.

    extent: side of the square; stride: from one to the next; offset: center of the first, a half where extent is even.
    """

    extent: int
    stride: int
    offset: float


def receptive_field(network: nn.Module) -> ReceptiveField:
    """Receptive field of a network whose convolutions, poolings and paddings follow one another.

    Layer by layer, with kernel k, stride t, padding p on the left: ``offset += ((k-1)/2 - p)·j; extent += (k-1)·j;
    j *= t``, where j is the stride so far; a layer that names its own ``field`` is believed. Padding on the right and
    rounding up (``ceil_mode``) add map pixels that look beyond the border, and change none of the three.
    ``torch.nn.Sequential`` may be nested. Of a module that names its ``main_branch`` (a residual block) that branch
    counts, as the skip connection sees one pixel of the same square; of SqueezeNet's Fire modules the wider one. Raises
    ValueError for layers that see the whole image (dense, adaptive pooling), are not square, or whose order is unknown:
    a ``forward`` of its own may skip or branch.
    """
    extent, stride, offset = 1, 1, 0.0
    for layer in _in_order(network):
        own = _field(layer)
        offset += own.offset * stride
        extent += (own.extent - 1) * stride
        stride *= own.stride
    return ReceptiveField(extent, stride, offset)


def _field(layer: nn.Module) -> ReceptiveField:
    """The field of one layer by itself."""
    own = getattr(layer, "field", None)
    if isinstance(own, ReceptiveField):
        return own
    p = _square(layer, "padding")
    if isinstance(layer, PADDINGS):
        return ReceptiveField(1, 1, -p)
    k, t, d = (_square(layer, name) for name in ("kernel_size", "stride", "dilation"))
    return ReceptiveField(1 + d * (k - 1), t, d * (k - 1) / 2 - p)


PADDINGS = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
# Modules of torch that work pixel by pixel (normalisation with statistics of the image itself is not among them).
PIXELWISE = ("torch.nn.modules.activation", "torch.nn.modules.batchnorm", "torch.nn.modules.dropout")
# Widest branches of torchvision's blocks, by name, because torchvision takes a second to import. Fire's squeeze is
# followed by expand3x3 side by side with expand1x1, which sees the middle of the same window.
BRANCHES = {
    "squeezenet.Fire": ("squeeze", "expand3x3"),
    "mobilenetv2.InvertedResidual": ("conv",),
    "resnet.BasicBlock": ("conv1", "conv2"),
    "resnet.Bottleneck": ("conv1", "conv2", "conv3"),
}


def _in_order(layer: nn.Module) -> list[nn.Module]:
    """The convolutions, poolings and paddings, first one first."""
    home, kind = type(layer).__module__, type(layer).__name__
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, *PADDINGS)) or hasattr(layer, "field"):
        return [layer]
    if isinstance(layer, (nn.Identity, nn.BatchNorm2d)) or home in PIXELWISE:
        return []
    if type(layer).forward is nn.Sequential.forward:
        return [inner for part in layer for inner in _in_order(part)]  # type: ignore[attr-defined]
    if isinstance(getattr(layer, "main_branch", None), nn.Module):
        return _in_order(layer.main_branch)
    if branch := BRANCHES.get(f"{home}.{kind}".removeprefix("torchvision.models.")):
        return [inner for name in branch for inner in _in_order(getattr(layer, name))]
    if isinstance(layer, (nn.Linear, nn.Flatten)) or "Adaptive" in kind:
        raise ValueError(
            f"expected a fully convolutional network, found a {kind} layer: every one of its outputs sees the whole "
            "image; use one of the fcdd_* networks"
        )
    raise ValueError(
        f"expected convolutions, poolings and pixel-wise layers in a Sequential, found {kind}, whose receptive field "
        "is not known; write the network as an nn.Sequential of such layers, or name a block's main_branch"
    )


def _square(layer: nn.Module, name: str) -> int:
    """What holds across and down alike; of the paddings of a padding layer those on the left and at the top."""
    value = getattr(layer, name, 1)
    if isinstance(value, str):
        raise ValueError(f"expected convolutions and poolings with numeric padding, found {layer}")
    if isinstance(value, int):
        return value
    if len(value) == 4 and value[0] != value[2]:
        what = f"as much padding on the left as at the top, found {value[0]} and {value[2]}"
        raise ValueError(f"expected {what} in {layer}")
    if len(value) == 2 and value[0] != value[1]:
        raise ValueError(f"expected a square {name}, found {value} in {layer}")
    return value[0]


def joined_field(fields: list[ReceptiveField]) -> ReceptiveField:
    """What a place of several grids sees, when :func:`regrid` has put them onto the first one: the widest square."""
    first, extent = fields[0], 0.0
    for field in fields:
        places = ((first.offset - field.offset + i * first.stride) / field.stride for i in range(field.stride))
        reach = max(max(part, 1 - part) if (part := place % 1) else 0.0 for place in places)
        extent = max(extent, field.extent + 2 * reach * field.stride)
    return first._replace(extent=math.ceil(extent))


def regrid(maps: Tensor, field: ReceptiveField, onto: ReceptiveField, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, u, v) of the grid of ``field`` at the ``size`` places of the grid ``onto``, where these really lie.

    Linear between places, beyond the outermost as at those; by size alone half a place off where padding is one-sided.
    """
    rows, columns = (_hats(n, count, field, onto, maps) for n, count in zip(maps.shape[2:], size, strict=True))
    return rows @ maps @ columns.T


def _hats(n: int, count: int, field: ReceptiveField, onto: ReceptiveField, like: Tensor) -> Tensor:
    """(count, n) weights of linear interpolation."""
    place = (onto.offset - field.offset + onto.stride * torch.arange(count, device=like.device)) / field.stride
    gaps = place.clamp(0, n - 1)[:, None] - torch.arange(n, device=like.device)
    return (1 - gaps.abs()).clamp(min=0).to(like.dtype)


def default_sigma(extent: int) -> float:
    """Width of the Gaussian if none is given, as the official code sets it: grows with the field, 10 from 32 px on."""
    return math.log10(0.45 * extent + 1) + 0.25 if extent < 32 else 10.0


def gaussian_kernel(extent: int, sigma: float, *, device=None) -> Tensor:
    """One-dimensional Gaussian of ``extent`` samples with peak 1, not normalised to sum 1 (as in the official code).

    An even extent has no middle sample: the middle of the next smaller odd one is doubled and all is halved.
    """
    odd = extent - (extent + 1) % 2
    steps = torch.arange(odd, dtype=torch.float32, device=device) - (odd - 1) / 2  # MPS has no float64
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    return kernel if odd == extent else torch.cat([kernel[: odd // 2 + 1], kernel[odd // 2 :]]) / 2


def upsample(maps: Tensor, field: ReceptiveField, size: int | tuple[int, int], sigma: float | None = None) -> Tensor:
    r"""Puts a Gaussian where each map pixel looks and adds them up: (N, 1, u, v) → (N, 1, H, W).

    Equal to the strided transposed convolution of the paper's algorithm 1 followed by its crop, but separable: with
    :math:`G_{xi} = g(x - \text{offset} - i\,\text{stride})`, the result is :math:`G A G^\top`, two small matrix
    products. ``size`` is H = W or (H, W); ``sigma`` in input pixels (None: :func:`default_sigma`). float32 in, float32
    out. Raises ValueError unless ``maps`` has one channel.
    """
    if maps.ndim != 4 or maps.shape[1] != 1:
        raise ValueError(f"expected maps of shape (N, 1, u, v), got {tuple(maps.shape)}")
    size = (size, size) if isinstance(size, int) else size
    sigma = default_sigma(field.extent) if sigma is None else sigma
    sides = zip(maps.shape[2:], size, strict=True)
    rows, columns = (_placement(n, side, field, sigma, maps) for n, side in sides)
    return rows @ maps @ columns.T


def _placement(n: int, size: int, field: ReceptiveField, sigma: float, like: Tensor) -> Tensor:
    """(size, n) matrix whose column i holds the kernel, placed where map pixel i looks."""
    kernel = gaussian_kernel(field.extent, sigma, device=like.device)
    first = math.floor(field.offset) - (field.extent - 1) // 2
    pixel = torch.arange(size, device=like.device)[:, None]
    tap = pixel - first - field.stride * torch.arange(n, device=like.device)
    inside = (tap >= 0) & (tap < field.extent)
    return torch.where(inside, kernel[tap.clamp(0, field.extent - 1)], 0.0).to(like.dtype)

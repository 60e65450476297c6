"""The pretrained backbone inside the package: MobileNetV2 up to stride 16, and features of several depths side by side.

Weights: fcdd/weights, with licence and notice. Taught in: chapter 06.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .receptive import ReceptiveField, joined_field, receptive_field, regrid


class Joined(nn.Sequential):
    """A sequence of layers of which the outputs at some ``places`` count, each averaged over 3×3 of its places and
    brought to the grid of the first one, side by side: (N, C, H, W) → (N, their channels together, u, v).

    ``offsets``: where the weight of each field lies, if not in its middle; the field is then told so wide that it lies
    around there. Raises ValueError for places that are none, and for layers whose receptive field is not known."""

    def __init__(self, layers, places, offsets=None):
        layers = list(layers)
        if not places or not 0 <= min(places) <= max(places) < len(layers):
            raise ValueError(f"expected layers from 0 to {len(layers) - 1} of the network, got {places}")
        super().__init__(*layers[: max(places) + 1])
        self.places, self.offsets, smooth = tuple(places), offsets, nn.AvgPool2d(3, 1, 1)
        self.fields = [receptive_field(nn.Sequential(*layers[: place + 1], smooth)) for place in places]
        if offsets is not None:
            self.fields = [_about(field, at) for field, at in zip(self.fields, offsets, strict=True)]
        self.field = joined_field(self.fields)

    def forward(self, x):
        taken = {}
        for place, layer in enumerate(self):
            x = layer(x)
            if place in self.places:  # averaged at once, as the next layer may work in place
                taken[place] = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        first, *others = (taken[place] for place in self.places)
        size = first.shape[2:]
        others = [
            maps if maps.shape[2:] == size else regrid(maps, field, self.field, size)
            for maps, field in zip(others, self.fields[1:], strict=True)
        ]
        return torch.cat([first, *others], 1)


def _about(field: ReceptiveField, offset: float) -> ReceptiveField:
    return ReceptiveField(field.extent + 2 * math.ceil(abs(offset - field.offset)), field.stride, offset)


class Residual(nn.Module):
    """A block that adds what it computes to what came in."""

    def __init__(self, main_branch: nn.Module):
        super().__init__()
        self.main_branch = main_branch

    def forward(self, x):
        return x + self.main_branch(x)


def mobilenet_blocks(in_channels: int, weights: str | None = "imagenet") -> list[nn.Module]:
    """The blocks of MobileNetV2 up to stride 16, features.0 to 13; weights None: random ones.

    They come with the package (fcdd/weights/NOTICE) and have batch normalisation folded in. Padding is TensorFlow's at
    even sizes: where the stride is 2, on the right and at the bottom only. Grey images are taken as if repeated.
    Source: Sandler et al. 2018, *MobileNetV2*. Raises ValueError for other weights.
    """
    if weights not in ("imagenet", None):
        raise ValueError(
            f"expected weights 'imagenet' (they are in the package) or None for random ones, got {weights!r}"
        )
    blocks: dict[int, list] = {}
    with np.load(Path(__file__).parent / "weights" / "mobilenet_v2.npz") as arrays:
        for name in [key.removesuffix(".spec") for key in arrays.files if key.endswith(".spec")]:
            stride, activation, depthwise, residual = (int(number) for number in arrays[f"{name}.spec"])
            weight = torch.from_numpy(arrays[f"{name}.q"] * arrays[f"{name}.scale"][:, None, None, None])
            first = not blocks
            weight = weight.sum(1, keepdim=True) if first and in_channels == 1 else weight
            out, into, kernel, _ = weight.shape
            groups = out if depthwise else 1
            conv = nn.Conv2d(groups * into, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
            if weights:
                conv.weight.data, conv.bias.data = weight, torch.from_numpy(arrays[f"{name}.bias"])
            block = blocks.setdefault(int(name.split(".")[1]), [])
            block += [nn.ZeroPad2d((0, kernel - stride) * 2)] if stride == 2 else []
            block += [conv] + ([nn.ReLU6(inplace=True)] if activation else [])
            blocks[int(name.split(".")[1])] = [Residual(nn.Sequential(*block))] if residual else block
    return [nn.Sequential(*block) for block in blocks.values()]


class Length(nn.Module):
    """Adds to the features at each place their length, as one more channel: whitened, the Mahalanobis distance from the
    mean of the good ones, by which a Gaussian would judge. A head need not learn it, only what is different."""

    field = ReceptiveField(1, 1, 0.0)

    def forward(self, x):
        return torch.cat([x, x.norm(dim=1, keepdim=True)], 1)


DEPTHS = (6, 13)  # the last blocks of stride 8 and of stride 16: 32 and 96 channels
# Where their weight lies, in px. The middles of their fields are 7 and 15, as padding is on the right only, the middles
# of their cells 3.5 and 7.5: trained so, the network looks back towards its cell. Found with spots drawn on good
# pictures (tests/test_features.py holds it): the change of the features lies there.
OFFSETS = (5.0, 9.0)


def fcdd_mobilenet(in_channels, weights="imagenet"):
    """Features of two depths at stride 8; a 1×1 convolution that whitens them (:mod:`fcdd.features`), at first the
    identity; a head of three. Only the head is trained."""
    frozen = nn.Sequential(Joined(mobilenet_blocks(in_channels, weights), DEPTHS, OFFSETS), nn.Conv2d(128, 128, 1))
    nn.init.dirac_(frozen[1].weight)
    nn.init.zeros_(frozen[1].bias)
    hidden = [layer for width in (129, 128) for layer in (nn.Conv2d(width, 128, 1), nn.LeakyReLU())]
    network = nn.Sequential(*frozen.requires_grad_(False), nn.Sequential(Length(), *hidden, nn.Conv2d(128, 1, 1)))
    network.normalisation = "signed"
    return network


def hsc_mobilenet(in_channels, weights="imagenet"):
    """The last block of stride 16, its mean over the image, then two dense layers to 64 numbers; only these train."""
    frozen = nn.Sequential(*mobilenet_blocks(in_channels, weights)).requires_grad_(False)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 128), nn.LeakyReLU(), nn.Linear(128, 64)]
    network = nn.Sequential(frozen, *head)
    network.normalisation = "signed"
    return network

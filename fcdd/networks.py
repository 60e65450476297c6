"""Networks by name: LeNets without biases (Deep SVDD, Deep SAD), FCDD's fully convolutional nets, dense-head twins.

Layer tables are those of the official code. Convolutions keep the size; leaky ReLU has slope 0.01; batch
normalisation has eps 1e-4. Taught in: chapters 02 (LeNets) and 05 (fully convolutional).
"""

from functools import partial

import torch
from torch import nn


def build(name: str, in_channels: int = 1, **options) -> nn.Module:
    """The network called ``name`` (see :data:`NETWORKS`), for images of ``in_channels`` channels.

    ``options`` go to the maker, e.g. ``bias=False``. Raises ValueError for an unknown name.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name](in_channels, **options)


def _block(in_channels, out_channels, kernel, *, bias, norm=True, pool=None):
    """Convolution, and where wanted batch normalisation with leaky ReLU, and max-pooling (size, stride, padding)."""
    layers = [nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)]
    if norm:
        layers += [nn.BatchNorm2d(out_channels, eps=1e-4, affine=bias), nn.LeakyReLU()]
    if pool:
        layers.append(nn.MaxPool2d(*pool))
    return layers


POOL2, POOL3 = (2, 2), (3, 2, 1)

# out channels, kernel, batch norm with activation?, pooling
TRUNKS = {
    "cnn28": [(8, 5, True, POOL2), (16, 5, False, POOL2)],
    "cnn28_w": [(128, 5, True, POOL2), (128, 5, False, POOL2)],
    "cnn32": [(32, 5, True, POOL2), (64, 5, True, POOL2), (128, 5, False, None)],
    "cnn32_s": [(32, 3, True, POOL2), (64, 3, True, POOL2), (128, 3, False, None)],
    "cnn32_lw3k": [(128, 3, True, POOL2), (256, 3, True, None), (256, 3, True, POOL2), (128, 3, False, None)],
    "cnn224": [
        (8, 5, True, POOL3),
        (32, 5, True, POOL3),
        (64, 3, True, None),
        (128, 3, True, POOL3),
        (128, 3, False, None),
    ],
    "cnn224_w": [
        (32, 5, True, POOL3),
        (128, 5, True, POOL3),
        (256, 3, True, None),
        (256, 3, True, POOL3),
        (128, 3, False, None),
    ],
}


def _trunk(table, in_channels, bias):
    layers = []
    for channels, kernel, norm, pool in TRUNKS[table]:
        layers += _block(in_channels, channels, kernel, bias=bias, norm=norm, pool=pool)
        in_channels = channels
    return layers, in_channels


def _fcdd(table, in_channels, bias=True):
    """Fully convolutional: the trunk, then a 1×1 convolution to one channel, the map."""
    layers, width = _trunk(table, in_channels, bias)
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1, bias=bias))


def _dense(table, hidden, dim, in_channels, bias=True):
    """The same trunk with a dense head to ``dim`` numbers, for HSC: it knows what, but no longer where."""
    layers, _ = _trunk(table, in_channels, bias)
    head = []
    for width in hidden:
        head += [nn.LazyLinear(width, bias=bias), nn.BatchNorm1d(width, eps=1e-4, affine=bias), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.LazyLinear(dim, bias=bias))


def _lenet(channels, hidden, dim, size, in_channels, bias=False):
    """LeNet of Deep SVDD and Deep SAD: no biases, so that it cannot learn to map everything to the center."""
    layers = []
    for width in channels:
        layers += _block(in_channels, width, 5, bias=bias, pool=POOL2)
        in_channels = width
    flat = channels[-1] * (size // 2 ** len(channels)) ** 2
    layers.append(nn.Flatten())
    for width in hidden:
        layers += [nn.Linear(flat, width, bias=bias), nn.BatchNorm1d(width, eps=1e-4, affine=bias), nn.LeakyReLU()]
        flat = width
    return nn.Sequential(*layers, nn.Linear(flat, dim, bias=bias))


NETWORKS = {
    "mnist_lenet": partial(_lenet, (8, 4), (), 32, 28),
    "fmnist_lenet": partial(_lenet, (16, 32), (128,), 64, 28),
    "cifar10_lenet": partial(_lenet, (32, 64, 128), (), 128, 32),
    **{f"fcdd_{table}": partial(_fcdd, table) for table in TRUNKS},
    **{f"hsc_{table}": partial(_dense, table, (), 48) for table in ("cnn28", "cnn28_w")},
    **{f"hsc_{table}": partial(_dense, table, (512,), 64) for table in ("cnn32", "cnn32_s", "cnn32_lw3k")},
    **{f"hsc_{table}": partial(_dense, table, (1536,), 784) for table in ("cnn224", "cnn224_w")},
}


def decoder(encoder: nn.Sequential, image_shape: tuple[int, int, int]) -> nn.Module:
    """The mirror of a dense-head ``encoder``, for autoencoders: (N, d) → (N, C, H, W) = (N, *image_shape) in [0, 1].

    ``d`` is folded into 4×4 maps; nearest upsampling and 5×5 transposed convolutions undo the poolings one by one.
    Raises ValueError if ``d`` is not a multiple of 16.
    """
    dim = [layer for layer in encoder if isinstance(layer, nn.Linear)][-1].out_features
    if dim % 16:
        raise ValueError(
            f"expected an encoder with a multiple of 16 outputs, got {dim}; use a *_lenet or hsc_* network"
        )
    widths = [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)]
    pools = sum(isinstance(layer, nn.MaxPool2d) for layer in encoder)
    channels, *size = image_shape
    width, layers = dim // 16, [nn.Unflatten(1, (dim // 16, 4, 4)), nn.LeakyReLU()]
    for level, out in zip(range(pools, 0, -1), widths[-1 : -pools - 1 : -1], strict=True):
        layers += [
            nn.Upsample(size=[side // 2**level for side in size]),
            nn.ConvTranspose2d(width, out, 5, padding=2, bias=False),
        ]
        layers += [nn.BatchNorm2d(out, eps=1e-4, affine=False), nn.LeakyReLU()]
        width = out
    return nn.Sequential(
        *layers, nn.Upsample(size=size), nn.ConvTranspose2d(width, channels, 5, padding=2, bias=False), nn.Sigmoid()
    )


def parameter_count(network: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(p.numel() for p in network.parameters())


def first_forward(network: nn.Module, in_channels: int, size: tuple[int, int]) -> torch.Size:
    """Runs one blank image through, which fixes the widths of lazy layers; returns the output's shape.

    Raises ValueError where the network cannot take images of this size.
    """
    training = network.training
    try:
        with torch.no_grad():
            return network.eval()(torch.zeros(2, in_channels, *size)).shape
    except RuntimeError as error:
        raise ValueError(
            f"the network cannot take images of {size[0]}×{size[1]} px, {in_channels} channels: {error}"
        ) from error
    finally:
        network.train(training)

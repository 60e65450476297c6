"""Gaussian upsampling of 28×28 maps to 224×224: two small matrix products against the transposed convolution that the
FCDD paper writes down, with the gradient and without."""

import torch
from torch.nn import functional as F

from fcdd import networks, receptive

from .compare import Comparison, Fact, Limit, Measured, Options, timed
from .hardware import flops

SIGMA = 8.0


def dense(maps, field, size: int, sigma: float):
    """The paper's algorithm 1 as it stands: a transposed convolution with the whole Gaussian, then the crop."""
    line = receptive.gaussian_kernel(field.extent, sigma, device=maps.device).to(maps.dtype)
    full = F.conv_transpose2d(maps, (line[:, None] * line)[None, None], stride=field.stride)
    skip = (field.extent - 1) // 2 - int(field.offset)
    return full[:, :, skip : skip + size, skip : skip + size]


def comparisons(options: Options):
    field = receptive.receptive_field(networks.build("fcdd_cnn224", 3))
    count, side, size = (2, 4, 32) if options.quick else (64, 28, 224)
    maps = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)).to(options.device)

    def forward(function):
        def call() -> Measured:
            with torch.inference_mode():
                return timed(lambda: function(maps, field, size, SIGMA), options.device)

        return call

    def backward(function):
        def step():
            leaf = maps.clone().requires_grad_()
            function(leaf, field, size, SIGMA).square().sum().backward()
            return leaf.grad

        return lambda: timed(step, options.device)

    # cuDNN convolves in TensorFloat32 unless told otherwise, with 10 bits behind the point.
    most = 1e-3 if options.device == "cuda" else 1e-5
    for name, side_of, goal in (("", forward, 10.0), ("-gradient", backward, None)):
        ours, needed = side_of(receptive.upsample), flops(side_of(receptive.upsample))
        ours(), side_of(dense)()  # the first call of each prepares what later ones use again
        yield Comparison(
            f"upsampling{name}",
            f"Upsampling {count} maps, {side} → {size} px" + (", and its gradient" if name else ""),
            ours,
            {"dense transposed convolution": side_of(dense)},
            goal,
            lambda peaks, _, needed=needed: Limit(needed / peaks["float32"], "matrix products in float32"),
            lambda ours, peer: [Fact("largest difference", float((ours - peer).abs().max() / peer.abs().max()), most)],
        )

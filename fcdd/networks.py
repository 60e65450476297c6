"""Networks by name: LeNets (Deep SVDD, Deep SAD), FCDD's fully convolutional nets, dense-head twins, backbones.

Layer tables are those of the official code. Convolutions keep the size; leaky ReLU has slope 0.01; batch
normalisation has eps 1e-4. Taught in: chapters 02 (LeNets), 05 (fully convolutional) and 06 (backbones).
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .datasets.fetch import places
from .mobilenet import fcdd_mobilenet, hsc_mobilenet


def build(name: str, in_channels: int = 1, **options) -> nn.Module:
    """The network called ``name`` (see :data:`NETWORKS`), for images of ``in_channels`` channels.

    ``options``: ``bias=False`` (all but the backbones); ``activation`` of the ``*_lenet`` (:data:`ACTIVATIONS`);
    ``weights``, ``frozen`` and ``frozen_statistics`` of a :class:`Backbone`; ``weights=None`` of the ``*_mobilenet``.
    Raises ValueError for an unknown name.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name](in_channels, **options)


ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
PIXELS, FEW = 16, 16  # side by side in one row; channels that are fewer


class _Rows(torch.autograd.Function):
    """Batch normalisation of rows (n, PIXELS·C), each several pixels of C channels; also the mean and variance (C,)."""

    @staticmethod
    def forward(ctx, rows, weight, bias, channels, eps):
        means, variances = (s.view(-1, channels) for s in torch.batch_norm_update_stats(rows, None, None, 0.0))
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        ctx.save_for_backward(rows, weight, mean, inverse := (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        scale = inverse * weight
        shift = bias - mean * scale
        return torch.addcmul(shift.repeat(PIXELS), rows, scale.repeat(PIXELS)), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        rows, weight, mean, inverse = ctx.saved_tensors
        # Of PyTorch's own gradient only its sums: of the gradient, and of its product with the normalised rows.
        constants = (None, None, None, mean.repeat(PIXELS), inverse.repeat(PIXELS), True, 0.0, [False, True, True])
        sums = torch.ops.aten.native_batch_norm_backward(gradient, rows, *constants)[1:]
        of_product, of_gradient = (s.view(PIXELS, -1).sum(0) for s in sums)
        scale, count = inverse * weight, rows.numel() / len(mean)
        slope = -scale * inverse * of_product / count
        shift = -scale * of_gradient / count - slope * mean
        change = torch.addcmul(shift.repeat(PIXELS), rows, slope.repeat(PIXELS))
        return change.addcmul_(gradient, scale.repeat(PIXELS)), of_product, of_gradient, None, None


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation with eps 1e-4; in training on a processor, few channels are taken as rows of 16 pixels.

    Channels-last, PyTorch works pixel by pixel, with one long sum a channel; 16 short ones round less (held by a test).
    Whether rows are faster, too, depends on the processor and the number of channels: see the page on speed.
    """

    def __init__(self, channels: int, affine: bool = True):
        super().__init__(channels, eps=1e-4, affine=affine)
        self.few = channels < FEW  # of each network, if many are stacked: so that all round alike

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        as_rows = self.few and self.training and x.device.type == "cpu"
        if not as_rows or not pixels.is_contiguous() or (count := pixels[..., 0].numel()) % PIXELS:
            return super().forward(x)
        rows = pixels.reshape(-1, PIXELS * self.num_features).to(torch.promote_types(x.dtype, torch.float32))
        plain = torch.ones_like(self.running_mean), torch.zeros_like(self.running_mean)
        weight, bias = (self.weight, self.bias) if self.affine else plain
        rows, mean, variance = _Rows.apply(rows, weight, bias, self.num_features, self.eps)
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return rows.to(x.dtype).view(pixels.shape).permute(0, 3, 1, 2)


POOL2, POOL3 = (2, 2), (3, 2, 1)  # size, stride, padding
POOLS224, WIDE224 = (POOL3, POOL3, None, POOL3, None), (32, 128, 256, 256, 128)
# Output channels, kernel and pooling of each convolution; all but the last have batch normalisation and activation.
TRUNKS = {
    "cnn28": [(8, 5, POOL2), (16, 5, POOL2)],
    "cnn28_w": [(128, 5, POOL2), (128, 5, POOL2)],
    "cnn32": [(32, 5, POOL2), (64, 5, POOL2), (128, 5, None)],
    "cnn32_s": [(32, 3, POOL2), (64, 3, POOL2), (128, 3, None)],
    "cnn32_lw3k": [(128, 3, POOL2), (256, 3, None), (256, 3, POOL2), (128, 3, None)],
    "cnn224": list(zip((8, 32, 64, 128, 128), (5, 5, 3, 3, 3), POOLS224, strict=True)),
    "cnn224_w": list(zip(WIDE224, (5, 5, 3, 3, 3), POOLS224, strict=True)),
    # The receptive-field ablation: k + 15 px wide on 32 px images, 19k - 4 px on 224 px images.
    **{f"cnn32_{k}k": [(128, k, POOL2), (256, 3, POOL2), (128, 3, None)] for k in range(3, 18, 2)},
    **{f"cnn224_{k}k": list(zip(WIDE224, [k] * 5, POOLS224, strict=True)) for k in range(3, 14, 2)},
}
UNUSED_NORM = ("cnn32", "cnn32_lw3k")


class Unused(nn.Identity):
    """A layer that the official code makes and never calls: here so that parameter counts and checkpoints agree."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer


def _trunk(table, in_channels, bias, activation=nn.LeakyReLU, every=False):
    """Convolutions with batch normalisation and activation, of the last one only if ``every``, and with max-pooling."""
    layers = []
    for place, (channels, kernel, pool) in enumerate(table, 1):
        layers.append(nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias))
        layers += [BatchNorm(channels, bias), activation()] if every or place < len(table) else []
        layers += [nn.MaxPool2d(*pool)] if pool else []
        in_channels = channels
    return layers


def _fcdd(name, in_channels, bias=True):
    """Fully convolutional: the trunk, then a 1×1 convolution to one channel, the map."""
    width = TRUNKS[name][-1][0]
    unused = [Unused(BatchNorm(width, bias))] if name in UNUSED_NORM else []
    return nn.Sequential(*_trunk(TRUNKS[name], in_channels, bias), *unused, nn.Conv2d(width, 1, 1, bias=bias))


def _dense(table, hidden, dim, in_channels, bias=True, activation=nn.LeakyReLU, every=False):
    """A trunk with a dense head to ``dim`` numbers, for HSC: it knows what, but no longer where."""
    layers = [*_trunk(table, in_channels, bias, activation, every), nn.Flatten()]
    for width in hidden:
        layers += [nn.LazyLinear(width, bias=bias), nn.BatchNorm1d(width, eps=1e-4, affine=bias), activation()]
    return nn.Sequential(*layers, nn.LazyLinear(dim, bias=bias))


def _lenet(channels, hidden, dim, size, in_channels, bias=False, activation="leaky_relu"):
    """LeNet of Deep SVDD and Deep SAD: no biases, so that it cannot learn to map everything to the center.

    A bounded ``activation`` can stand in for the bias by saturating, and the network collapses all the same; ELU is
    the official code's variant for CIFAR-10.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
    table = [(width, 5, POOL2) for width in channels]
    network = _dense(table, hidden, dim, in_channels, bias, ACTIVATIONS[activation], every=True)
    first_forward(network, in_channels, (size, size))
    return network


class Backbone(nn.Sequential):
    """Layers trained on ImageNet, then a new head; a plain sequence, with what the weights ask of their user.

    weights: None (random), "imagenet" (torchvision's, downloaded), or a file: a state dict with torchvision's names as
    .pth or .pt (no code in it is run), .npz or .safetensors, here or where data lies (:func:`fcdd.datasets.places`).
    frozen: given weights, the first layers are not trained; random features are worth training. frozen_statistics:
    their batch normalisation keeps the statistics of ImageNet, so that they are one fixed function in training and
    scoring, which no outlier can shift; in the official FCDD code (False) they drift towards the training images, half
    of them anomalies. ``normalisation``: of the input that the weights were trained with, "imagenet"
    (:func:`fcdd.augment.fit_normalisation`), or None for random weights, which take any; the official code feeds VGG
    LCN instead, and lets the drift make up for it. Raises ValueError for images that are not RGB or weights that do
    not fit, FileNotFoundError where there are none.
    """

    def __init__(self, features, head, source, fixed, in_channels, weights=None, frozen=True, frozen_statistics=True):
        if in_channels != 3:
            raise ValueError(f"expected RGB images, got {in_channels} channel; repeat grey ones, X.repeat(1, 3, 1, 1)")
        super().__init__(*features, *head)
        self.normalisation, self.frozen_statistics, self.fixed = None, frozen_statistics, 0
        if weights is not None:
            self.normalisation, self.fixed = "imagenet", fixed if frozen else 0
            _fill(features, weights, source)
        for layer in list(self)[: self.fixed]:
            layer.requires_grad_(False)

    def train(self, mode: bool = True):
        super().train(mode)
        if self.frozen_statistics:
            for layer in list(self)[: self.fixed]:
                layer.eval()
        return self


HUB = "https://download.pytorch.org/models/"
FILES = {"vgg11_bn": "vgg11_bn-6002323d.pth", "squeezenet1_0": "squeezenet1_0-b66bff10.pth"}


def _vgg11bn(in_channels, **options):
    """VGG11-BN up to its sixth convolution, then 1×1 to one channel; the first four convolutions are frozen."""
    from torchvision.models.vgg import cfgs, make_layers  # here, because torchvision takes a second to import

    features = make_layers(cfgs["A"], batch_norm=True)[:-8]
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # as torchvision initialises the whole network
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return Backbone(features, [nn.Conv2d(512, 1, 1)], FILES["vgg11_bn"], 15, in_channels, **options)


def _squeezenet(in_channels, **options):
    """SqueezeNet 1.0 up to stride 8, all of it frozen, then two 1×1 convolutions to one channel."""
    from torchvision.models import squeezenet1_0

    features = squeezenet1_0().features[:11]
    head = [nn.Conv2d(512, 128, 1), nn.BatchNorm2d(128), nn.LeakyReLU(), nn.Conv2d(128, 1, 1)]
    return Backbone(features, head, FILES["squeezenet1_0"], 11, in_channels, **options)


def _hsc_vgg11bn(in_channels, **options):
    """All of VGG11-BN but its last three layers: 4096 numbers."""
    from torchvision.models import vgg11_bn

    whole = vgg11_bn()
    head = [whole.avgpool, nn.Flatten(), *whole.classifier[:-3]]
    return Backbone(whole.features, head, FILES["vgg11_bn"], 15, in_channels, **options)


def _fill(features: nn.Sequential, weights, source: str) -> None:
    """Loads the entries ``features.*`` of a state dict; others, of a classifier or of later layers, are not needed."""
    state, own = _read_weights(weights, source), features.state_dict()
    if not isinstance(state, dict):
        raise ValueError(f"expected a state dict in {weights}, found a {type(state).__name__}")
    # Counts of batches seen, which some files leave out, have no part in the result.
    found = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    found |= {key: state[f"features.{key}"] for key in own if f"features.{key}" in state}
    wrong = [key for key, value in own.items() if key not in found or found[key].shape != value.shape]
    if wrong:
        told = f"{len(wrong)} of {len(own)} entries are missing or of another shape (first: features.{wrong[0]})"
        raise ValueError(f"expected the weights of {source} in {weights}, but {told}")
    features.load_state_dict(found)


def _read_weights(weights, source: str) -> dict:
    if weights == "imagenet":
        try:
            return torch.hub.load_state_dict_from_url(HUB + source, map_location="cpu", check_hash=True)
        except (OSError, RuntimeError) as error:
            told = f"{HUB + source} cannot be fetched ({error}); fetch it elsewhere and pass weights='path/to/{source}'"
            raise FileNotFoundError(told) from error
    path = next((p for p in (folder / weights for folder in (Path(), *places())) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no weights at {weights}, nor under that name in {', '.join(map(str, places()))}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return {key: torch.from_numpy(array) for key, array in arrays.items()}
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own errors for a damaged file
        why = str(error).partition(". ")[0]  # without PyTorch's advice to run what is in the file
        told = f"{path} cannot be read as a state dict ({why}); expected .pth, .pt, .npz or .safetensors"
        raise ValueError(told) from error


NETWORKS = {
    "mnist_lenet": partial(_lenet, (8, 4), (), 32, 28),
    "fmnist_lenet": partial(_lenet, (16, 32), (128,), 64, 28),
    "cifar10_lenet": partial(_lenet, (32, 64, 128), (), 128, 32),
    **{f"fcdd_{table}": partial(_fcdd, table) for table in TRUNKS},
    **{f"hsc_{table}": partial(_dense, TRUNKS[table], (), 48) for table in ("cnn28", "cnn28_w")},
    **{f"hsc_{table}": partial(_dense, TRUNKS[table], (512,), 64) for table in ("cnn32", "cnn32_s", "cnn32_lw3k")},
    **{f"hsc_{table}": partial(_dense, TRUNKS[table], (1536,), 784) for table in ("cnn224", "cnn224_w")},
    "fcdd_vgg11bn": _vgg11bn,
    "fcdd_squeezenet": _squeezenet,
    "fcdd_mobilenet": fcdd_mobilenet,
    "hsc_vgg11bn": _hsc_vgg11bn,
    "hsc_mobilenet": hsc_mobilenet,
}


def decoder(encoder: nn.Sequential, image_shape: tuple[int, int, int]) -> nn.Module:
    """The mirror of a dense-head ``encoder``, for autoencoders: (N, d) → (N, C, H, W) = (N, *image_shape) in [0, 1].

    ``d`` is folded into 4×4 maps; nearest upsampling and 5×5 transposed convolutions undo the poolings one by one.
    Raises ValueError if ``d`` is not a multiple of 16.
    """
    dim = [layer for layer in encoder if isinstance(layer, nn.Linear)][-1].out_features
    if dim % 16:
        raise ValueError(f"expected a *_lenet or hsc_* network with a multiple of 16 outputs, got {dim}")
    widths = [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)]
    pools = sum(isinstance(layer, nn.MaxPool2d) for layer in encoder)
    channels, *size = image_shape
    width, layers = dim // 16, [nn.Unflatten(1, (dim // 16, 4, 4)), nn.LeakyReLU()]
    for level, out in zip(range(pools, -1, -1), [*widths[: -pools - 1 : -1], channels], strict=True):
        layers.append(nn.Upsample(size=[side // 2**level for side in size]))
        layers.append(nn.ConvTranspose2d(width, out, 5, padding=2, bias=False))
        layers += [BatchNorm(out, affine=False), nn.LeakyReLU()] if level else [nn.Sigmoid()]
        width = out
    return nn.Sequential(*layers)


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
        got = f"{in_channels} channels of {size[0]}×{size[1]} px ({error}); resize the images, or take another network"
        raise ValueError(f"expected images that the network can take, got {got}") from error
    finally:
        network.train(training)


class Reconstruction(nn.Module):
    """``encoder`` with its mirror, made by ``seed``: (N, C, H, W) images in, squared errors of the same shape out."""

    stackable = True  # nothing here mixes channels, so that images of several models may lie side by side

    def __init__(self, encoder, image_shape, seed: int, device):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            self.encoder, self.decoder = encoder, decoder(encoder, image_shape)
        self.to(device, memory_format=torch.channels_last)

    def forward(self, x):
        return (self.decoder(self.encoder(x)) - x) ** 2

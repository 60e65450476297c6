"""Heatmaps from gradients, and how heatmaps are scaled for display. Taught in: chapters 05 and 06."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage
from torch import Tensor

from . import pictures
from .augment import as_uint8
from .checks import as_images
from .memory import halving
from .training import cudnn


def gradient_maps(network, score, images: Tensor, prepare, device, batch_size: int = 256) -> np.ndarray:
    r"""How much each pixel moves the score: :math:`\sum_c |\partial s / \partial x_c|`, (N, C, H, W) → (N, H, W).

    In whole float32 on a card, too: of products rounded to ten bits, as cuDNN takes them, another unit often wins.
    """
    network.eval()

    def gradients(batch):
        x = prepare(batch.to(device)).detach().requires_grad_()
        with cudnn(deterministic=True, allow_tf32=False):
            (gradient,) = torch.autograd.grad(score(network(x)).sum(), x)
        return gradient.abs().sum(1).cpu()

    return halving(lambda size: torch.cat([*map(gradients, images.split(size))]), batch_size).numpy()


def blur(maps, sigma: float, extent: int | None = None) -> np.ndarray:
    """Gaussian blur of heatmaps (N, H, W) with mirrored borders, float32; a constant stays as it is.

    Gradients and reconstruction errors jump from pixel to pixel, FCDD's maps are smooth by construction: to compare
    like with like, the paper blurs the former with FCDD's own ``sigma`` and cuts the Gaussian off after ``extent``
    taps, the receptive field of the FCDD network (None: after 4 ``sigma`` to either side). Source: the official code.
    """
    radius = None if extent is None else (extent - 1) // 2
    return ndimage.gaussian_filter(np.asarray(maps, np.float32), sigma, mode="mirror", radius=radius, axes=(1, 2))


def for_display(maps, quantile: float = 0.85, per_image: bool = False, limits=None) -> np.ndarray:
    """Scales heatmaps (N, H, W) to [0, 1]: 0 at the lowest value, 1 at the ``quantile``, clipped above.

    ``per_image``: each has its own scale (where is it most anomalous?), otherwise all share one (which is more so?),
    over several calls by ``limits`` from :func:`display_limits`. Source: the official FCDD code.
    """
    maps = np.asarray(maps, np.float32)
    low, high = display_limits(maps, quantile, (1, 2) if per_image else None) if limits is None else limits
    return np.clip((maps - low) / np.maximum(high - low, np.finfo(np.float32).tiny), 0, 1)


def display_limits(maps, quantile: float = 0.85, axes=None):
    """The lowest value and the ``quantile`` of heatmaps (N, H, W), over all or along ``axes``, which are kept."""
    maps = np.asarray(maps, np.float32)
    return maps.min(axes, keepdims=True), np.quantile(maps, quantile, axes, keepdims=True)


def write_overlays(folder, names, images, maps, limits=None) -> None:
    """Writes each image beside itself with its heatmap on top, as ``folder/<name>.png``.

    images: (N, C, H, W), uint8 or float in [0, 1], array or tensor. All maps share one scale, from the lowest to the
    99th percentile, or the ``limits`` of several calls.
    """
    images = as_uint8(as_images(images)).cpu().permute(0, 2, 3, 1).numpy()
    for name, image, heat in zip(names, images, for_display(maps, 0.99, limits=limits), strict=True):
        path = Path(folder) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(overlay(image, heat), path)


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture (H, W, C) uint8 beside itself with a heatmap in [0, 1], of any size, on top: (H, 2 W, 3) uint8."""
    picture = np.broadcast_to(picture, (*picture.shape[:2], 3))
    shown = colours()[(255 * at_size(heat, picture.shape[:2])).astype(np.uint8)]
    return np.concatenate([picture, (picture // 2 + shown // 2).astype(np.uint8)], 1)


def at_size(heat: np.ndarray, size) -> np.ndarray:
    """A heatmap brought to ``size`` = (H, W), float32, bilinear."""
    if heat.shape == tuple(size):
        return heat
    return np.asarray(Image.fromarray(np.asarray(heat, np.float32)).resize(size[::-1], Image.Resampling.BILINEAR))


def save(overlay: np.ndarray, path) -> None:
    """An overlay as PNG, marked as drawn here, so that it is not taken for a picture to judge."""
    about = PngInfo()
    about.add_text("Software", pictures.STAMP)
    Image.fromarray(overlay).save(path, pnginfo=about, compress_level=1)


@cache
def colours() -> np.ndarray:
    from matplotlib import colormaps  # pyplot, which takes half a second, is not needed

    return (255 * colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8)

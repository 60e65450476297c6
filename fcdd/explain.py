"""Heatmaps from gradients, and how heatmaps are scaled for display. Taught in: chapters 05 and 06."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage
from torch import Tensor

from .augment import as_uint8
from .checks import as_images
from .pictures import STAMP


def gradient_maps(network, score, images: Tensor, prepare, device, batch_size: int = 256) -> np.ndarray:
    r"""How much each pixel moves the score: :math:`\sum_c |\partial s / \partial x_c|`, (N, C, H, W) → (N, H, W)."""
    network.eval()
    maps = []
    for batch in images.split(batch_size):
        x = prepare(batch.to(device)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(network(x)).sum(), x)
        maps.append(gradient.abs().sum(1).cpu())
    return torch.cat(maps).numpy()


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
    """Writes each image (N, C, H, W), uint8 or float in [0, 1], beside itself with its heatmap on top, as
    ``folder/<name>.png``; all maps share one scale, from the lowest to the 99th percentile, or the ``limits`` of
    several calls. The files are stamped, so that they are not taken for pictures to judge later."""
    from matplotlib import colormaps

    stamp = PngInfo()
    stamp.add_text("Software", STAMP)
    colours = colormaps["magma"](np.arange(256))[:, :3] * 255
    shown = as_uint8(as_images(images)).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).cpu().numpy()
    heat = (for_display(maps, 0.99, limits=limits) * 255).round().astype(np.uint8)
    for name, picture, each in zip(names, shown, heat, strict=True):
        path = Path(folder) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        over = (0.5 * picture + 0.5 * colours[each]).round().astype(np.uint8)
        Image.fromarray(np.concatenate([picture, over], 1)).save(path, pnginfo=stamp)

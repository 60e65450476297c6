"""What one cell of a map sees, and the Gaussian that it paints. Taught in: chapter 05."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fcdd import networks, receptive
from fcdd.figures import ANOMALOUS, HEAT, NOMINAL, show_image

from .. import protocol
from .shared import as_bytes, colours, nominal_class

NETWORKS = {
    "fcdd_cnn28": 28,
    "fcdd_cnn32_s": 32,
    "fcdd_cnn32": 32,
    "fcdd_cnn32_9k": 32,
}  # with the side of their images
CELL, SIGMA = (2, 4), 1.2  # where it begins: row and column, and the width of the Gaussian


def data(profile: str, device: str) -> dict:
    """The layers of some networks that move or widen the field, and a test image at their sizes."""
    split = protocol.split(profile, nominal_class(profile, "Sandal"))
    image = split.test.images[:1]
    wide = F.pad(image, [(32 - side) // 2 for side in image.shape[:1:-1] for _ in range(2)])
    return {
        "pictures": {str(each.shape[-1]): as_bytes(each) for each in (image, wide)},
        "networks": {name: described(name, side) for name, side in NETWORKS.items()},
        "colours": colours(),
        "still": image[0].tolist(),
    }


def described(name: str, side: int) -> dict:
    """A network's layers as [kind, kernel, stride, padding], and the sides of its images and of its map."""
    network = networks.build(name).eval()
    kinds = {nn.Conv2d: "convolution", nn.MaxPool2d: "max-pooling"}
    layers = [layer for layer in network if type(layer) in kinds]
    sizes = ("kernel_size", "stride", "padding")
    rows = [[kinds[type(layer)], *(_side(getattr(layer, size)) for size in sizes)] for layer in layers]
    with torch.no_grad():
        return {"size": side, "map": network(torch.zeros(1, 1, side, side)).shape[-1], "layers": rows}


def _side(value) -> int:
    return value if isinstance(value, int) else value[0]


def still(data: dict):
    """The field of one cell on an image, the cell in its map, and the Gaussian that it paints."""
    field, (row, column) = receptive.receptive_field(networks.build("fcdd_cnn28")), CELL
    one = torch.zeros(1, 1, 7, 7)
    one[0, 0, row, column] = 1
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3))
    show_image(axes[0], np.array(data["still"], np.uint8))
    centers = field.offset + field.stride * np.arange(7)
    axes[0].scatter(*np.meshgrid(centers, centers), s=8, color=NOMINAL)
    corner = centers[column] - field.extent / 2, centers[row] - field.extent / 2
    axes[0].add_patch(plt.Rectangle(corner, field.extent, field.extent, fill=False, ec=ANOMALOUS, lw=2))
    axes[1].imshow(one[0, 0], cmap="gray", vmin=0, vmax=1)
    axes[2].imshow(receptive.upsample(one, field, 28, SIGMA)[0, 0], cmap=HEAT)
    titles = (
        f"its field: {field.extent} × {field.extent} px",
        "a cell of the map, 7 × 7",
        f"what it paints, σ = {SIGMA}",
    )
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    return figure

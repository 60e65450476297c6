"""Figures of chapter 05."""

import matplotlib.pyplot as plt
import numpy as np
from torch.autograd import grad

from fcdd import explain
from fcdd.figures import ANOMALOUS, HEAT, NOMINAL, bare, picture_rows, score_histogram, show_image

from .shared import heatmap_grid, heatmap_rows
from .style import lineage, stamp

__all__ = [
    "field_on_image",
    "heatmap_grid",
    "heatmap_rows",
    "influence",
    "lineage",
    "picture_rows",
    "score_and_place",
    "score_histogram",
    "stamp",
    "values_and_gradients",
]


def score_and_place(images, scores, maps):
    """What a detector says of each image: a number, and a heatmap; all heatmaps on one scale."""
    figure, axes = plt.subplots(2, len(images), figsize=(2 * len(images), 4.4), squeeze=False)
    heat = explain.for_display(maps)
    for place, (image, score) in enumerate(zip(images, scores, strict=True)):
        show_image(axes[0, place], image)
        axes[0, place].set_xlabel(f"how much: {score:.2f}")
        axes[1, place].imshow(heat[place], cmap=HEAT, vmin=0, vmax=1)
        axes[1, place].set_xlabel("where")
    for axis in axes.flat:
        bare(axis)
    return figure


def field_on_image(image, field, map_size: int, row: int, column: int):
    """The centers of all receptive fields as dots on an image, and the square that one map pixel sees."""
    figure, axes = plt.subplots(figsize=(3.4, 3.4))
    show_image(axes, image)
    centers = field.offset + field.stride * np.arange(map_size)
    axes.scatter(*np.meshgrid(centers, centers), s=12, color=NOMINAL)
    corner = centers[column] - field.extent / 2, centers[row] - field.extent / 2
    axes.add_patch(plt.Rectangle(corner, field.extent, field.extent, fill=False, ec=ANOMALOUS, lw=2))
    axes.scatter(centers[column], centers[row], s=40, color=ANOMALOUS)
    return figure


def values_and_gradients(z, named: dict):
    """Functions of one number, and their gradients; ``z`` (n,) is a tensor that requires its gradient."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for (name, curve), style in zip(named.items(), (":", "--", "-", "-."), strict=True):
        axes[0].plot(z.detach(), curve.detach(), style, label=name)
        axes[1].plot(z.detach(), grad(curve.sum(), z)[0], style)
    axes[0].set(title="value", xlabel="network output z", ylim=(0, 3))
    axes[1].set(title="gradient", xlabel="network output z")
    axes[0].legend(frameon=False)
    return figure


def influence(values, field, pixel: int):
    """How much image pixels move one pixel of the map: (H, W) as a picture with the receptive field, and along the row
    through its center, beside a Gaussian of the same variance."""
    values = np.asarray(values)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), width_ratios=(1, 1.6))
    center = field.offset + field.stride * pixel
    axes[0].imshow(values, cmap=HEAT)
    corner = center - field.extent / 2
    axes[0].add_patch(plt.Rectangle((corner, corner), field.extent, field.extent, fill=False, ec="white", lw=1.5))
    axes[0].set(xticks=[], yticks=[])
    places = np.arange(values.shape[1])
    row = values.sum(0) / values.sum(0).max()
    spread = np.sqrt((row * (places - center) ** 2).sum() / row.sum())
    fine = np.linspace(0, places[-1], 300)
    axes[1].bar(places, row, color=NOMINAL, alpha=0.6, label="influence")
    axes[1].plot(
        fine, np.exp(-((fine - center) ** 2) / (2 * spread**2)), color=ANOMALOUS, label="Gaussian of\nits variance"
    )
    for edge in (corner, corner + field.extent):
        axes[1].axvline(edge, color="0.4", lw=1, ls="--")
    axes[1].set(xlabel="column of the image", ylabel="relative influence")
    axes[1].legend(frameon=False, fontsize=8)
    return figure

"""Figures of chapter 07."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np

from fcdd import explain
from fcdd.figures import ANOMALOUS, HEAT, NOMINAL, bare, image_grid, show_image

from .style import stamp

__all__ = ["conditions", "image_grid", "marked_rows", "stamp"]


def marked_rows(named: dict, box):
    """Images above their heatmaps, a pair of rows for each name; a dashed line around the ``box`` (H, W) of a mark.

    ``named`` maps a name to images (n, C, H, W) and maps (n, H, W). All maps share one scale.
    """
    heat = explain.for_display(np.concatenate([maps for _, maps in named.values()]), 0.98)
    columns = max(len(maps) for _, maps in named.values())
    figure, axes = plt.subplots(2 * len(named), columns, figsize=(0.95 * columns, 1.9 * len(named)), squeeze=False)
    rows, cols = np.asarray(box).any(1).nonzero()[0], np.asarray(box).any(0).nonzero()[0]
    corner, size = (cols[0] - 0.5, rows[0] - 0.5), (len(cols), len(rows))
    for place, (name, (images, maps)) in enumerate(named.items()):
        shown, heat = heat[: len(maps)], heat[len(maps) :]
        for above, below, image, one in zip(axes[2 * place], axes[2 * place + 1], images, shown, strict=False):
            show_image(above, image)
            below.imshow(one, cmap=HEAT, vmin=0, vmax=1)
            below.add_patch(plt.Rectangle(corner, *size, fill=False, ec="white", lw=1, ls="--"))
        axes[2 * place, 0].set_ylabel(name, fontsize=9)
        axes[2 * place + 1, 0].set_ylabel("heatmap", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        bare(axis)
    return figure


def conditions(table, xlabel: str = "AUROC"):
    """One row of ``table`` a line, one column a mark on it, told apart by colour and shape; chance is dotted."""
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(table) + 1.2))
    axes.hlines(places, table.min(axis=1), table.max(axis=1), color="0.8", zorder=1)
    for name, colour, marker in zip(table, cycle((NOMINAL, "0.35", ANOMALOUS)), cycle("Dos")):
        axes.scatter(table[name], places, s=44, color=colour, marker=marker, label=name, zorder=2)
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set_yticks(places, table.index)
    axes.set(xlabel=xlabel, xlim=(min(0.45, np.floor(20 * table.min(axis=None)) / 20), 1.01))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(table.columns))
    return figure

"""Figures that several chapters draw. Each function returns the matplotlib figure."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from fcdd import explain
from fcdd.figures import ANOMALOUS, HEAT, NOMINAL, bare, show_image

from .style import GREEN


def curves(x, named: dict, xlabel: str, ylabel: str, **limits):
    """Curves over one axis, told apart by dash and colour; points are marked if there are few."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    marker = "o" if len(x) <= 12 else ""
    for (name, y), style in zip(named.items(), cycle(("-", "--", ":", "-."))):
        axes.plot(x, y, style, marker=marker, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, **limits)
    axes.legend(framealpha=0.9, edgecolor="none")
    return figure


def dots(axes, table, x: str, order, jitter: float, **look) -> None:
    """AUROC of every row of a table as a dot, in its column of ``order``, moved sideways the same way each time."""
    aside = jitter * (2 * (0.618 * np.arange(len(table)) % 1) - 1)  # the golden section spreads any number evenly
    axes.scatter(table[x].map(list(order).index) + aside, table["auroc"], s=16, lw=0, zorder=3, **look)
    axes.set_xticks(range(len(order)), order)


def heatmap_rows(nominal, anomalous, nominal_maps, anomalous_maps, masks=None, quantile: float = 0.85):
    """The paper's figure: nominal images, anomalous images, their heatmaps on one scale, and masks if there are any."""
    heat = explain.for_display(np.concatenate([nominal_maps, anomalous_maps]), quantile)
    blocks = [("nominal", nominal, None), ("heatmap", heat[: len(nominal)], HEAT)]
    blocks += [("anomalous", anomalous, None), ("heatmap", heat[len(nominal) :], HEAT)]
    blocks += [("mask", np.asarray(masks)[:, 0], "gray")] if masks is not None else []
    columns = max(len(nominal), len(anomalous))
    figure, axes = plt.subplots(len(blocks), columns, figsize=(columns * 0.95, len(blocks) * 1.0), squeeze=False)
    for row, (name, pictures, colours) in zip(axes, blocks, strict=True):
        for axis, picture in zip(row, pictures, strict=False):
            show_image(axis, picture) if colours is None else axis.imshow(picture, cmap=colours, vmin=0, vmax=1)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            bare(axis)
        row[0].set_ylabel(name, fontsize=9)
    return figure


def heatmap_grid(named: dict, titles=None):
    """Rows of maps, each row with its name; maps are shown as they are, 0 dark and 1 bright."""
    columns = max(map(len, named.values()))
    size = 0.95 if columns > 5 else 2.2
    figure, axes = plt.subplots(
        len(named), columns, figsize=(size * columns, (size + 0.15) * len(named)), squeeze=False
    )
    for row, (name, maps) in zip(axes, named.items(), strict=True):
        for axis, heat in zip(row, maps, strict=True):
            axis.imshow(heat, cmap=HEAT, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], titles or [], strict=False):
        axis.set_title(title, fontsize=10)
    return figure


def intervals(table, xlabel: str = "AUROC"):
    """Values with their intervals: a row a method, a colour and a mark a column of a table of :class:`Interval`."""
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(table) + 1.3))
    columns = list(table)
    marks = zip(columns, cycle((NOMINAL, ANOMALOUS, GREEN)), cycle("oDs"))
    for place, (name, colour, marker) in enumerate(marks):
        rows = np.arange(len(table)) + 0.2 * (place - (len(columns) - 1) / 2)
        axes.hlines(rows, [i.low for i in table[name]], [i.high for i in table[name]], color=colour, lw=1.5)
        axes.scatter([i.mean for i in table[name]], rows, color=colour, marker=marker, s=30, label=name, zorder=2)
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set(xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


def trend(table, x: str, hue: str, xlabel: str, log: bool = False):
    """Mean AUROC over a column of a table: a line for each ``hue``, told apart by colour, dash and marker, and a band
    for the range over seeds."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    sns.lineplot(table, x=x, y="auroc", hue=hue, style=hue, markers=True, errorbar=("pi", 100), ax=axes)
    axes.set(xlabel=xlabel, ylabel="AUROC", xscale="log" if log else "linear")
    axes.legend(frameon=False, title=None)
    return figure


def pairs_by_class(table, first: str, second: str):
    """Two columns of a table as two dots for each class, joined by a line."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    axes.hlines(table.index, table[first], table[second], color="0.7")
    axes.plot(table[first], table.index, "o", color=NOMINAL, label=first)
    axes.plot(table[second], table.index, "D", color=ANOMALOUS, label=second)
    axes.set(xlabel="AUROC", xlim=(0.4, 1))
    axes.legend(frameon=False, loc="lower left")
    return figure

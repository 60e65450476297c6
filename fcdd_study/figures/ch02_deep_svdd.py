"""Figures of chapter 02."""

import matplotlib.pyplot as plt
import numpy as np

from fcdd.figures import ANOMALOUS, NOMINAL, score_histogram

from .shared import curves
from .style import lineage, stamp

__all__ = ["curves", "latent", "lineage", "moved_center", "score_histogram", "score_ranges", "stamp"]


def latent(before, after, anomalous, centers):
    """Latent vectors (N, d) before and after training, each in the plane of its two main directions, seen from the
    center: ``centers`` holds c (d,) of either."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    panels = zip(axes, (before, after), centers, ("before training", "after training"), strict=True)
    for axis, z, center, title in panels:
        z = np.asarray(z)
        plane = np.linalg.svd(z - z.mean(0), full_matrices=False)[2][:2].T
        for group, name, colour in ((anomalous, "anomalous", ANOMALOUS), (~anomalous, "nominal", NOMINAL)):
            axis.scatter(*((z[group] - np.asarray(center)) @ plane).T, s=5, alpha=0.5, color=colour, label=name)
        axis.scatter(0, 0, s=110, marker="X", color="black", edgecolors="white", zorder=3, label="center c")
        axis.set(title=title, xlabel="first direction, from c", ylabel="second direction, from c")
    for handle in axes[1].legend(frameon=False).legend_handles:
        handle.set_sizes([40])
    return figure


def moved_center(outputs, center, epsilon: float = 0.1):
    """Each component of the mean network output and where the rule of Deep SVDD's center moves it, by size."""
    outputs, center = np.asarray(outputs), np.asarray(center)
    order = np.argsort(outputs)
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.axhspan(-epsilon, epsilon, color="0.9", label=f"closer to 0 than {epsilon}")
    axes.vlines(range(len(order)), outputs[order], center[order], color="0.6", lw=1)
    axes.scatter(range(len(order)), outputs[order], s=22, color=ANOMALOUS, marker="o", label="mean output")
    axes.scatter(range(len(order)), center[order], s=22, color=NOMINAL, marker="D", label="center c")
    axes.set(xlabel="component, in the order of its mean output", ylabel="value")
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


def score_ranges(named: dict, anomalous, xlabel: str):
    """Of each detector, the range of the middle 90 % of its scores and their median, nominal and anomalous apart."""
    figure, axes = plt.subplots(figsize=(7.5, 0.62 * len(named) + 1.1))
    for place, scores in enumerate(named.values()):
        for group, name, colour, shift in (
            (~anomalous, "nominal", NOMINAL, -0.14),
            (anomalous, "anomalous", ANOMALOUS, 0.14),
        ):
            low, middle, high = np.quantile(np.asarray(scores)[group], [0.05, 0.5, 0.95])
            axes.plot([low, high], [place + shift] * 2, color=colour, lw=5, alpha=0.5, solid_capstyle="butt")
            axes.scatter(middle, place + shift, s=36, color=colour, zorder=3, label=None if place else name)
    axes.axvline(1, color="0.4", lw=1, ls="--", label="all weights zero")
    axes.set_yticks(range(len(named)), list(named))
    axes.set(xscale="log", xlabel=xlabel, ylim=(len(named) - 0.5, -0.5))
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure

"""Figures of chapter 01."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np

from fcdd.figures import ANOMALOUS, NOMINAL, bare, image_grid, score_histogram

from .shared import curves
from .style import GREEN, PURPLE, lineage, stamp

__all__ = [
    "aurocs_by_class",
    "curves",
    "decision_2d",
    "image_grid",
    "lineage",
    "outlines_2d",
    "score_histogram",
    "stamp",
    "support_kinds",
]


def decision_2d(detectors: dict, X, steps: int = 120):
    """Contours of detectors on 2-D data: level lines of the score, the boundary, and the support vectors."""
    figure, axes = plt.subplots(
        1, len(detectors), figsize=(3.3 * len(detectors), 3.2), sharex=True, sharey=True, squeeze=False
    )
    low, high = X.min(0) - 0.25 * np.ptp(X, axis=0), X.max(0) + 0.25 * np.ptp(X, axis=0)
    for axis, (name, detector) in zip(axes[0], detectors.items(), strict=True):
        plane = _decision_plane(detector, low, high, steps)
        axis.contourf(*plane, 12, cmap="cividis", alpha=0.6)
        axis.contour(*plane, [0], colors="black", linewidths=1.5)
        axis.scatter(*X.T, s=8, color=NOMINAL)
        if hasattr(detector, "support_"):
            axis.scatter(*X[detector.support_].T, s=36, facecolors="none", edgecolors=ANOMALOUS)
        axis.set_title(name, fontsize=10)
        axis.set_aspect("equal")
    return figure


def _decision_plane(detector, low, high, steps: int):
    """Coordinates and decision values of a 2-D detector on a grid from corner to corner, each (steps, steps)."""
    x, y = np.meshgrid(*(np.linspace(a, b, steps) for a, b in zip(low, high, strict=True)))
    values = detector.decision_function(np.stack([x, y], -1).reshape(-1, 2))
    return x, y, values.reshape(steps, steps)


def outlines_2d(detectors: dict, X, anomalies=None, origin: bool = False, steps: int = 160):
    """Decision lines of detectors on 2-D data, a panel each: the inside is tinted, what lies outside is vermilion.

    ``X`` (n, 2) nominal points, support vectors ringed; ``anomalies`` (m, 2) are crosses, a ``center_`` is a square,
    the ``origin`` a plus if wanted.
    """
    shown = [X, *([] if anomalies is None else [anomalies]), *([np.zeros((1, 2))] if origin else [])]
    balls = [(d.center_, d.radius_) for d in detectors.values() if getattr(d, "center_", None) is not None]
    shown = np.concatenate([*shown, *(center + radius * np.array([[-1, -1], [1, 1]]) for center, radius in balls)])
    low, high = shown.min(0) - 0.12 * np.ptp(X, axis=0), shown.max(0) + 0.12 * np.ptp(X, axis=0)
    side = 9.6 / len(detectors)
    height = side * (high - low)[1] / (high - low)[0] + 0.35
    figure, axes = plt.subplots(1, len(detectors), figsize=(9.6, height), sharex=True, sharey=True, squeeze=False)
    for axis, (name, detector) in zip(axes[0], detectors.items(), strict=True):
        plane = _decision_plane(detector, low, high, steps)
        axis.contourf(*plane, [0, np.inf], colors=[NOMINAL], alpha=0.13)
        axis.contour(*plane, [0], colors="black", linewidths=1.5)
        outside = detector.predict(X) < 0
        axis.scatter(*X[~outside].T, s=7, color=NOMINAL)
        axis.scatter(*X[outside].T, s=9, color=ANOMALOUS)
        held = detector.support_[detector.support_ < len(X)]
        axis.scatter(*X[held].T, s=32, facecolors="none", edgecolors="0.25", linewidths=0.9)
        if anomalies is not None:
            axis.scatter(*anomalies.T, s=80, marker="X", color=ANOMALOUS, edgecolors="black", zorder=3)
        if getattr(detector, "center_", None) is not None:
            axis.scatter(*detector.center_, s=40, marker="s", color="black", zorder=3)
        if origin:
            axis.scatter(0, 0, s=80, marker="+", color="black", linewidths=2)
        axis.set_title(name, fontsize=10)
        axis.set(aspect="equal", xticks=[], yticks=[])
        bare(axis)
    return figure


def support_kinds(svdd, X):
    """The three kinds of points that the multipliers of a fitted SVDD tell apart: on 2-D data, and by size."""
    alpha = svdd.alpha_ / svdd.alpha_.max()
    kinds = [
        ("α = 0: inside", alpha == 0, NOMINAL, "o", 10),
        ("0 < α < C: on the sphere", (alpha > 0) & (alpha < 1), "black", "s", 26),
        ("α = C: outside", alpha == 1, ANOMALOUS, "^", 32),
    ]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.4))
    low, high = X.min(0) - 0.2 * np.ptp(X, axis=0), X.max(0) + 0.2 * np.ptp(X, axis=0)
    axes[0].contour(*_decision_plane(svdd, low, high, 160), [0], colors="black", linewidths=1.2)
    place = np.empty(len(X), int)
    place[np.argsort(alpha, kind="stable")] = np.arange(len(X))
    for name, members, colour, marker, size in kinds:
        axes[0].scatter(*X[members].T, s=size, color=colour, marker=marker, label=name)
        axes[1].scatter(place[members], alpha[members], s=size, color=colour, marker=marker, label=name)
    axes[0].set(aspect="equal", xticks=[], yticks=[])
    bare(axes[0])
    axes[1].set(xlabel="points, in the order of α", ylabel="α / C")
    axes[1].legend(frameon=False, fontsize=9, loc="center left")
    return figure


def aurocs_by_class(table):
    """One row a class, one mark a column of ``table``, told apart by colour and shape; the mean in the last row."""
    table = table.copy()
    table.loc["mean"] = table.mean()
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(table) + 1.2))
    axes.hlines(places, table.min(axis=1), table.max(axis=1), color="0.8", zorder=1)
    colours = ("0.35", GREEN, NOMINAL, ANOMALOUS, PURPLE)
    for name, colour, marker in zip(table, cycle(colours), cycle("osDv^")):
        axes.scatter(table[name], places, s=38, color=colour, marker=marker, label=name, zorder=2)
    axes.axhline(0.5, color="0.6", lw=1)
    axes.set_yticks(places, table.index)
    axes.set(xlabel="AUROC", ylabel="nominal class", xlim=(np.floor(20 * table.min(axis=None)) / 20, 1.005))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(table.columns) // 2 or 1)
    return figure

"""The figures that users of the library want, and the book's chapters with them. Higher = more anomalous.

Each returns a matplotlib figure, in colours that colour-blind readers can tell apart: ``figure.savefig("scores.png")``.
What single chapters draw is in ``fcdd_study.figures``.

>>> import fcdd
>>> heat = [[[0.0, 1.0], [2.0, 3.0]]]
>>> figure = fcdd.figures.picture_rows({"image": [[[[0, 0], [255, 255]]]], "heatmap": heat})
>>> [axis.get_ylabel() for axis in figure.axes]
['image', 'heatmap']
"""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_curve

from . import explain, metrics

NOMINAL, ANOMALOUS = "#0072b2", "#d55e00"  # blue and vermilion of the Okabe-Ito palette
HEAT = "magma"
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))


def show_image(axis, image) -> None:
    """One image (C, H, W), uint8 or in [0, 1], on a matplotlib axis, grey or RGB, on its full range."""
    image = np.asarray(image)
    top = 255 if image.dtype == np.uint8 else 1
    axis.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=top)
    axis.set(xticks=[], yticks=[])


def bare(axis) -> None:
    """Takes ticks and frame from a matplotlib axis and leaves its label."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def image_grid(images, titles=None, columns: int = 10, size: float = 0.95):
    """A grid of images (N, C, H, W), uint8 or in [0, 1], with a title above each; ``size`` in inches.

    Taught in: chapter 00.
    """
    rows = -(-len(images) // columns)
    inches = (size * columns, (size + (0.25 if titles is not None else 0)) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for place, image in enumerate(images):
        show_image(axes.flat[place], image)
        axes.flat[place].set_title("" if titles is None else titles[place], fontsize=8)
    return figure


def picture_rows(named: dict, titles=None, size: float = 1.15, shared: bool = True):
    """Rows of pictures, heatmaps below their images: ``{"image": images, "heatmap": maps, "mask": masks}``.

    A row is images (N, C, H, W), masks (N, H, W) boolean, or heatmaps (N, H, W) as floats; ``titles`` stand above the
    first; ``size`` of a picture in inches. A row of heatmaps has one scale, from its lowest value to its 99 % quantile;
    without ``shared`` every map its own. Taught in: chapter 06.
    """
    columns = max(map(len, named.values()))
    inches = (size * columns + 0.3, size * len(named))
    figure, axes = plt.subplots(len(named), columns, figsize=inches, squeeze=False, layout="constrained")
    for row, (name, pictures) in zip(axes, named.items(), strict=True):
        pictures = [np.asarray(picture) for picture in pictures]
        if pictures[0].ndim == 2 and pictures[0].dtype != bool:
            pictures = explain.for_display(np.stack(pictures), 0.99, per_image=not shared)
        for axis, picture in zip(row, pictures, strict=False):
            if picture.ndim == 3:
                show_image(axis, picture)
            else:
                axis.imshow(picture, cmap="gray" if picture.dtype == bool else HEAT, vmin=0, vmax=1)
        row[0].set_ylabel(name, fontsize=9)
    for axis in axes.flat:
        bare(axis)
    for axis, title in zip(axes[0], [] if titles is None else titles, strict=False):
        axis.set_title(title, fontsize=8)
    return figure


def score_histogram(anomalous, scores, offset: float | None = None, log: bool = False, bins: int = 50):
    """Distribution of anomaly scores (N,), nominal against ``anomalous`` (N,) boolean, each group adding up to one.

    ``offset``: a detector's ``offset_``; its threshold, -``offset``, is drawn as a line. ``log``: logarithmic bins.
    Scores above the 99 % quantile, and above the threshold, are in the last of the ``bins``. Taught in: chapter 00.
    """
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    scores, anomalous = np.asarray(scores), np.asarray(anomalous, bool)
    low, high = np.quantile(scores, [0, 0.99])
    high = high if offset is None else max(high, -offset)
    edges = np.geomspace(max(low, high * 1e-5), high, bins) if log else np.linspace(low, high, bins)
    axes.set_xscale("log" if log else "linear")
    for group, name, colour in ((~anomalous, "nominal", NOMINAL), (anomalous, "anomalous", ANOMALOUS)):
        if group.any():
            share, clipped = np.full(group.sum(), 1 / group.sum()), np.clip(scores[group], edges[0], edges[-1])
            axes.hist(clipped, edges, weights=share, alpha=0.6, color=colour, label=name)
    if offset is not None:
        axes.axvline(-offset, color="black", lw=1, ls="--", label="threshold")
    axes.set(xlabel="anomaly score (higher = more anomalous)", ylabel="share of images")
    axes.legend(frameon=False)
    return figure


def roc(anomalous, named_scores: dict):
    """ROC curves of one or more methods, ``{"FCDD": scores}`` with scores (N,), and the AUROC of each in the legend.

    Taught in: chapter 00.
    """
    figure, axes = plt.subplots(figsize=(4.2, 4), layout="constrained")
    for (name, scores), dashes in zip(named_scores.items(), cycle(DASHES)):
        false_positive, true_positive, _ = roc_curve(anomalous, scores)
        auroc = metrics.auroc(anomalous, scores)
        axes.plot(false_positive, true_positive, ls=dashes, label=f"{name}: AUROC {auroc:.2f}")
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
    axes.legend(frameon=False, fontsize=9)
    return figure


def training_curve(named_histories: dict, log: bool = False):
    """Loss of each epoch of one or more detectors, ``{"FCDD": detector.history_}``. Taught in: chapter 02."""
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for (name, losses), dashes in zip(named_histories.items(), cycle(DASHES)):
        axes.plot(range(1, len(losses) + 1), losses, ls=dashes, marker="o" if len(losses) <= 12 else "", label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.set(xlabel="epoch", ylabel="mean loss", yscale="log" if log else "linear")
    axes.legend(frameon=False)
    return figure

"""Every figure kind of the book. One style, colours that colour-blind readers can tell apart, higher = more anomalous.

Each function returns the matplotlib figure. Taught in: all chapters.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.patches import FancyBboxPatch
from sklearn.isotonic import isotonic_regression

from fcdd import explain

NOMINAL, ANOMALOUS = "#0072b2", "#d55e00"  # blue and vermilion of the Okabe-Ito palette
HEAT = "magma"
LINEAGE = [
    ("SVDD", "2004", "a sphere in\nkernel space"),
    ("Deep SVDD", "2018", "a network\nlearns the space"),
    ("Deep SAD", "2020", "a few labelled\nanomalies"),
    ("HSC", "2020", "outlier exposure,\ncross-entropy"),
    ("FCDD", "2021", "the map is\nthe explanation"),
]


def set_style() -> None:
    """The book's matplotlib and seaborn settings."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "image.cmap": "gray"})


def stamp(figure, *runs) -> None:
    """Writes the names of the runs behind a figure under it, small."""
    figure.supxlabel(
        "run: " + ", ".join(str(getattr(run, "id", run)) for run in runs), fontsize=7, color="0.45", ha="left", x=0.01
    )


def lineage(here: str | None = None):
    """The line of descent as a row of boxes; the method ``here`` is filled."""
    figure, axes = plt.subplots(figsize=(9.6, 1.7))
    for place, (name, year, gain) in enumerate(LINEAGE):
        active = name == here
        box = FancyBboxPatch((place * 2, 0), 1.5, 1, boxstyle="round,pad=0.05,rounding_size=0.12", lw=1.5, ec=NOMINAL,
                             fc=NOMINAL if active else "white")  # fmt: skip
        axes.add_patch(box)
        colour = "white" if active else "black"
        axes.text(place * 2 + 0.75, 0.78, f"{name}", ha="center", va="center", weight="bold", fontsize=11, color=colour)
        axes.text(place * 2 + 0.75, 0.32, gain, ha="center", va="center", fontsize=8, color=colour)
        axes.text(place * 2 + 0.75, -0.22, year, ha="center", va="center", fontsize=8, color="0.35")
        if place:
            axes.annotate(
                "", (place * 2 - 0.08, 0.5), (place * 2 - 0.42, 0.5), arrowprops={"arrowstyle": "->", "color": "0.35"}
            )
    axes.set(xlim=(-0.15, 9.65), ylim=(-0.4, 1.15))
    axes.axis("off")
    return figure


def image_grid(images, titles=None, columns: int = 10, size: float = 0.95):
    """A grid of images (N, C, H, W) uint8 or in [0, 1], with a title above each."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, (size + (0.25 if titles is not None else 0)) * rows), squeeze=False
    )
    for place, axis in enumerate(axes.flat):
        axis.axis("off")
        if place < len(images):
            show_image(axis, images[place])
            if titles is not None:
                axis.set_title(titles[place], fontsize=8)
    return figure


def show_image(axis, image) -> None:
    """One image (C, H, W) on an axis, grey or RGB, on its full range."""
    image = np.asarray(image)
    top = 255 if image.dtype == np.uint8 else 1
    axis.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=top)
    axis.set_xticks([])
    axis.set_yticks([])


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
            sns.despine(ax=axis, left=True, bottom=True)
        row[0].set_ylabel(name, fontsize=9)
    return figure


def score_histogram(anomalous, scores, offset: float | None = None, log: bool = False):
    """Distribution of anomaly scores, nominal against anomalous, with the threshold -``offset``; or ``log``."""
    figure, axes = plt.subplots(figsize=(6, 3))
    scores, anomalous = np.asarray(scores), np.asarray(anomalous)
    low, high = np.quantile(scores, [0, 0.99])
    bins = np.geomspace(max(low, high * 1e-5), high, 50) if log else np.linspace(low, high, 50)
    axes.set_xscale("log" if log else "linear")
    for group, name, colour in ((~anomalous, "nominal", NOMINAL), (anomalous, "anomalous", ANOMALOUS)):
        share = np.full(group.sum(), 1 / group.sum())
        axes.hist(np.clip(scores[group], bins[0], bins[-1]), bins, weights=share, alpha=0.6, color=colour, label=name)
    if offset is not None:
        axes.axvline(-offset, color="black", lw=1, ls="--", label="threshold")
    axes.set(xlabel="anomaly score (higher = more anomalous)", ylabel="share of images")
    axes.legend(frameon=False)
    return figure


def roc(anomalous, named_scores: dict):
    """ROC curves of one or more methods, with the AUROC of each in the legend."""
    from sklearn.metrics import roc_curve

    from fcdd.metrics import auroc

    figure, axes = plt.subplots(figsize=(4.2, 4))
    for (name, scores), style in zip(named_scores.items(), ("-", "--", "-.", ":", (0, (5, 1, 1, 1))), strict=False):
        false_positive, true_positive, _ = roc_curve(anomalous, scores)
        axes.plot(false_positive, true_positive, ls=style, label=f"{name}: AUROC {auroc(anomalous, scores):.2f}")
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
    axes.legend(frameon=False, fontsize=9)
    return figure


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


def latent(before, after, anomalous, center=None):
    """Latent vectors before and after training, in the plane of the two main directions after training."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    for axis, z, title in zip(axes, (before, after), ("before training", "after training"), strict=True):
        z = np.asarray(z) - np.asarray(z).mean(0)
        plane = np.linalg.svd(z, full_matrices=False)[2][:2].T
        for group, name, colour in ((anomalous, "anomalous", ANOMALOUS), (~anomalous, "nominal", NOMINAL)):
            axis.scatter(*(z[group] @ plane).T, s=5, alpha=0.5, color=colour, label=name)
        axis.set(title=title, xlabel="first direction", ylabel="second direction")
    axes[1].legend(frameon=False, markerscale=3)
    return figure


def auroc_table(table, methods=None):
    """A heatmap of mean AUROC, nominal classes by ``methods``, from a table of runs, with the means below."""
    means = table.pivot_table(index="normal", columns="method", values="auroc")
    means = means.loc[table["normal"].unique(), methods or table["method"].unique()]  # in the order of the table
    means.loc["mean"] = means.mean()
    figure, axes = plt.subplots(figsize=(1.15 * len(means.columns) + 2, 0.38 * len(means) + 0.9))
    sns.heatmap(means, annot=True, fmt=".2f", cmap="cividis", vmin=0.5, vmax=1, cbar_kws={"label": "AUROC"}, ax=axes)
    axes.axhline(len(means) - 1, color="white", lw=3)
    axes.set(xlabel="", ylabel="nominal class")
    axes.tick_params(axis="y", rotation=0)
    return figure


def method_spread(table, order=None):
    """AUROC of every run, a column a method, with the mean of each."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    order = list(order or table["method"].unique())
    sns.stripplot(table, x="method", y="auroc", order=order, ax=axes, size=4, alpha=0.6, color=NOMINAL, jitter=0.18)
    means = table.groupby("method")["auroc"].mean().reindex(order)
    axes.scatter(range(len(order)), means, marker="_", s=900, color=ANOMALOUS, zorder=3, label="mean")
    axes.axhline(0.5, color="0.6", lw=1, ls=":")
    axes.set(xlabel="", ylabel="AUROC")
    axes.legend(frameon=False)
    plt.setp(axes.get_xticklabels(), rotation=25, ha="right")
    return figure


def curves(x, named: dict, xlabel: str, ylabel: str, **limits):
    """Curves over one axis, told apart by dash and colour; points are marked if there are few."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    marker = "o" if len(x) <= 12 else ""
    for (name, y), style in zip(named.items(), ("-", "--", ":", "-."), strict=False):
        axes.plot(x, y, style, marker=marker, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, **limits)
    axes.legend(framealpha=0.9, edgecolor="none")
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
    from torch.autograd import grad

    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for (name, curve), style in zip(named.items(), (":", "--", "-", "-."), strict=True):
        axes[0].plot(z.detach(), curve.detach(), style, label=name)
        axes[1].plot(z.detach(), grad(curve.sum(), z)[0], style)
    axes[0].set(title="value", xlabel="network output z", ylim=(0, 3))
    axes[1].set(title="gradient", xlabel="network output z")
    axes[0].legend(frameon=False)
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


def trend(table, x: str, hue: str, xlabel: str, log: bool = False):
    """Mean AUROC over a column of a table: a line for each ``hue``, told apart by colour, dash and marker, and a band
    for the range over seeds."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    sns.lineplot(table, x=x, y="auroc", hue=hue, style=hue, markers=True, errorbar=("pi", 100), ax=axes)
    axes.set(xlabel=xlabel, ylabel="AUROC", xscale="log" if log else "linear")
    axes.legend(frameon=False, title=None)
    return figure


def scores_by_group(named_scores: dict, groups, order):
    """Anomaly scores of several detectors, each divided by its median, as boxes for every group of test images."""
    import pandas as pd

    parts = [
        pd.DataFrame({"score": s / np.median(s), "images": groups, "detector": name})
        for name, s in named_scores.items()
    ]
    figure, axes = plt.subplots(figsize=(7, 3.4))
    colours = dict(zip(order, (NOMINAL, ANOMALOUS, "#999999"), strict=False))
    sns.boxplot(pd.concat(parts), x="detector", y="score", hue="images", hue_order=order, palette=colours, ax=axes,
                fliersize=1, linewidth=0.8, width=0.7, gap=0.1, log_scale=True)  # fmt: skip
    axes.set(xlabel="", ylabel="anomaly score / its median")
    axes.legend(frameon=False, title=None, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def bars(table, x: str, xlabel: str):
    """Mean AUROC of each value of a column as a bar with its number, and a dot for every row."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    sns.barplot(table, x=x, y="auroc", errorbar=None, color=NOMINAL, alpha=0.75, ax=axes)
    axes.bar_label(axes.containers[0], fmt="%.2f", fontsize=9, label_type="center", color="white")
    sns.stripplot(table, x=x, y="auroc", color="black", size=4, jitter=0.08, ax=axes)
    axes.axhline(0.5, color="0.6", lw=1, ls=":")
    axes.set(xlabel=xlabel, ylabel="AUROC", ylim=(min(0.4, table["auroc"].min() - 0.05), 1))
    if sum(map(len, map(str, table[x].unique()))) > 45:
        plt.setp(axes.get_xticklabels(), rotation=25, ha="right")
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


# ---- chapters 01 and 02 ----


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
        sns.despine(ax=axis, left=True, bottom=True)
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
    sns.despine(ax=axes[0], left=True, bottom=True)
    axes[1].set(xlabel="points, in the order of α", ylabel="α / C")
    axes[1].legend(frameon=False, fontsize=9, loc="center left")
    return figure


def aurocs_by_class(table):
    """One row a class, one mark a column of ``table``, told apart by colour and shape; the mean in the last row."""
    table = table.copy()
    table.loc["mean"] = table.mean()
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(table) + 1.2))
    axes.hlines(places, table.min(1), table.max(1), color="0.8", zorder=1)
    colours = ("0.35", "#009e73", NOMINAL, ANOMALOUS, "#cc79a7")  # grey, then Okabe-Ito
    for name, colour, marker in zip(table, colours, "osDv^", strict=False):
        axes.scatter(table[name], places, s=38, color=colour, marker=marker, label=name, zorder=2)
    axes.axhline(0.5, color="0.6", lw=1)
    axes.set_yticks(places, table.index)
    axes.set(xlabel="AUROC", ylabel="nominal class", xlim=(np.floor(20 * table.min(axis=None)) / 20, 1.005))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(table.columns) // 2 or 1)
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


# ---- chapter 06 ----


def picture_rows(named: dict, titles=None, size: float = 1.15, shared: bool = True):
    """Rows of pictures, each row with its name: images (C, H, W), masks (H, W) boolean, or heatmaps (H, W) as floats.

    A row of heatmaps has one scale, from its lowest value to its 99 % quantile; without ``shared`` every map its own.
    """
    columns = max(map(len, named.values()))
    figure, axes = plt.subplots(len(named), columns, figsize=(size * columns + 0.3, size * len(named)), squeeze=False)
    for row, (name, pictures) in zip(axes, named.items(), strict=True):
        pictures = [np.asarray(picture) for picture in pictures]
        if pictures[0].ndim == 2 and pictures[0].dtype != bool:
            pictures = explain.for_display(np.stack(pictures), 0.99, per_image=not shared)
        for axis, picture in zip(row, pictures, strict=False):
            if picture.ndim == 3:
                show_image(axis, picture)
            else:
                axis.imshow(picture, cmap="gray" if picture.dtype == bool else HEAT, vmin=0, vmax=1)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            sns.despine(ax=axis, left=True, bottom=True)
        row[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], titles if titles is not None else [], strict=False):
        axis.set_title(title, fontsize=8)
    return figure


def intervals(table, xlabel: str = "AUROC"):
    """Values with their intervals: a row a method, a colour and a mark a column of a table of :class:`Interval`."""
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(table) + 1.3))
    columns = list(table)
    marks = zip(columns, (NOMINAL, ANOMALOUS, "#009e73"), "oDs", strict=False)
    for place, (name, colour, marker) in enumerate(marks):
        rows = np.arange(len(table)) + 0.2 * (place - (len(columns) - 1) / 2)
        axes.hlines(rows, [i.low for i in table[name]], [i.high for i in table[name]], color=colour, lw=1.5)
        axes.scatter([i.mean for i in table[name]], rows, color=colour, marker=marker, s=30, label=name, zorder=2)
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set(xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


# ---- chapter 07 ----


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
        sns.despine(ax=axis, left=True, bottom=True)
    return figure


def conditions(table, xlabel: str = "AUROC"):
    """One row of ``table`` a line, one column a mark on it, told apart by colour and shape; chance is dotted."""
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(table) + 1.2))
    axes.hlines(places, table.min(axis=1), table.max(axis=1), color="0.8", zorder=1)
    for name, colour, marker in zip(table, (NOMINAL, "0.35", ANOMALOUS), "Dos", strict=False):
        axes.scatter(table[name], places, s=44, color=colour, marker=marker, label=name, zorder=2)
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set_yticks(places, table.index)
    axes.set(xlabel=xlabel, xlim=(min(0.45, np.floor(20 * table.min(axis=None)) / 20), 1.01))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(table.columns))
    return figure


# ---- chapter 08 ----

VERDICTS = {  # verdict → colour, marker
    "reproduced": (NOMINAL, "o"),
    "within noise": ("#e69f00", "s"),
    "not reproduced": (ANOMALOUS, "X"),
    "not run": ("0.65", "d"),
}


def summary(table, columns: int = 3):
    """Every published cell and ours, a panel for each data set and method of a table of verdicts
    (:func:`fcdd_study.verdicts.verdicts`): published is a black stroke, ours a mark with its interval. Where a mean
    over classes is all that was published, it is in the last panel."""
    keys = ["dataset", "method", "setting"]
    alone = table.groupby(keys)["normal"].transform("size") == 1
    panels = [(", ".join(filter(None, names)), cells) for names, cells in table[~alone].groupby(keys, sort=False)]
    tall = [
        max(len(cells) for _, cells in panels[start : start + columns]) + 2 for start in range(0, len(panels), columns)
    ]
    figure = plt.figure(figsize=(3.7 * columns, 0.19 * (sum(tall) + alone.sum() + 5)))
    above, below = figure.subfigures(2, 1, height_ratios=(sum(tall), alone.sum() + 2))
    axes = above.subplots(len(tall), columns, squeeze=False, height_ratios=tall)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    names = table[keys].apply(lambda row: ", ".join(filter(None, row)), axis=1)
    means = [("means over classes", table.assign(normal=names)[alone])] if alone.any() else []
    for axis, (title, cells) in zip([*axes.flat[: len(panels)], below.subplots()], [*panels, *means], strict=False):
        _verdict_panel(axis, cells)
        axis.set_title(title, fontsize=9)
    marks = [
        plt.Line2D([], [], ls="", marker=marker, color=colour, label=name)
        for name, (colour, marker) in VERDICTS.items()
    ]
    marks.append(plt.Line2D([], [], ls="", marker="|", ms=11, mew=2, color="black", label="published"))
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False, fontsize=9)
    return figure


def _verdict_panel(axis, cells) -> None:
    """One panel of :func:`summary`: a class a row."""
    rows = np.arange(len(cells))
    axis.scatter(cells["published"], rows, marker="|", s=110, lw=2, color="black", zorder=2)
    axis.hlines(rows, cells["published"], cells["ours"], color="0.8", lw=1, zorder=1)
    for name, (colour, marker) in VERDICTS.items():
        some = (cells["verdict"] == name).to_numpy()
        shown = cells["published" if name == "not run" else "ours"]
        axis.hlines(rows[some], cells["low"][some], cells["high"][some], color=colour, lw=2, alpha=0.5)
        axis.scatter(shown[some], rows[some], marker=marker, color=colour, s=26, zorder=3)
    axis.set_yticks(rows, cells["normal"], fontsize=7)
    axis.tick_params(axis="x", labelsize=8)
    lowest = min(cells["published"].min(), cells["ours"].min())
    axis.set(ylim=(len(cells) - 0.4, -0.6), xlim=(np.floor(20 * lowest - 0.4) / 20, 1.01))


def critical_difference(ranks, cd: float):
    """Mean ranks of methods on a line, the best on the left; a bar joins methods that are closer than ``cd``, which is
    drawn above. ``ranks``: a Series by method. Source: Demšar 2006."""
    ranks = ranks.sort_values()
    middle, bars = (len(ranks) + 1) // 2, _alike(ranks.to_numpy(), cd)
    figure, axes = plt.subplots(figsize=(8, 0.3 * middle + 0.16 * len(bars) + 1.1))
    low, high = 1, len(ranks)
    axes.plot([low, low + cd], [0.9, 0.9], "|-", color="0.35")
    axes.text(low + cd + 0.05, 0.9, f"critical difference {cd:.2f}", va="center", fontsize=9, color="0.35")
    for place, (first, last) in enumerate(bars):
        axes.plot(ranks.iloc[[first, last]] + [-0.03, 0.03], [-0.35 - 0.3 * place] * 2, lw=4, color=ANOMALOUS)
    floor = -0.35 - 0.3 * len(bars)
    for place, (name, rank) in enumerate(ranks.items()):
        left = place < middle
        row = floor - 0.6 * (place if left else len(ranks) - 1 - place)
        end = low - 0.15 if left else high + 0.15
        axes.plot([rank, rank, end], [0, row, row], color="0.45", lw=1)
        axes.text(end, row, f" {name} {rank:.2f} ", ha="right" if left else "left", va="center", fontsize=10)
    margin = 0.3 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(floor - 0.6 * middle, 1.3), yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.plot([low, high], [0, 0], color="black", lw=1)
    axes.set_xticks([])
    for rank in range(low, high + 1):
        axes.plot([rank, rank], [0, 0.1], color="black", lw=1)
        axes.text(rank, 0.16, str(rank), ha="center", va="bottom", fontsize=9)
    return figure


def _alike(ranks, cd: float) -> list[tuple[int, int]]:
    """First and last place of each longest group of sorted ranks that lie within ``cd``."""
    groups = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + cd, "right")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def ablations(named: dict, columns: int = 3):
    """A panel for each ablation: AUROC over the values of one setting, a thin line a class with its range over seeds,
    and their mean.

    ``named`` maps a title to a table with the columns value, normal, auroc. Numbers are drawn to scale, on a
    logarithmic one where they span more than a factor of twenty; anything else in its order.
    """
    rows = -(-len(named) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.7 * columns, 2.7 * rows), squeeze=False)
    for axis in axes.flat[len(named) :]:
        axis.axis("off")
    for axis, (title, table) in zip(axes.flat, named.items(), strict=False):
        values = list(dict.fromkeys(table["value"]))
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        places = dict(zip(values, values if numbers else range(len(values)), strict=True))
        table = table.assign(place=table["value"].map(places))
        by_class = table.groupby(["place", "normal"])["auroc"].agg(["mean", "min", "max"]).unstack()
        for name in by_class["mean"]:
            band = by_class["min"][name], by_class["max"][name]
            axis.fill_between(by_class.index, *band, color=NOMINAL, alpha=0.4 / len(by_class["mean"].columns))
            axis.plot(by_class["mean"][name], ".-", color=NOMINAL, lw=0.8, alpha=0.6)
        axis.plot(by_class["mean"].mean(axis=1), "D-", color=ANOMALOUS, ms=4, label="mean")
        low, high = axis.get_ylim()
        middle, half = (low + high) / 2, max(high - low, 0.05) / 2  # five points at least: less is no difference to see
        axis.set_ylim(middle - half, middle + half)
        ends = by_class["mean"].iloc[-1].sort_values()
        # As near to the ends of their lines as names can stand without covering each other.
        steps = np.arange(len(ends)) * half / 10
        for name, height in zip(ends.index, isotonic_regression(ends - steps) + steps, strict=True):
            axis.annotate(name, (by_class.index[-1], height), xytext=(3, 0), va="center",
                          textcoords="offset points", fontsize=6, color=NOMINAL)  # fmt: skip
        if not numbers:
            axis.set_xticks(range(len(values)), [str(value) for value in values], fontsize=8, rotation=20, ha="right")
        elif min(values) > 0 and max(values) > 20 * min(values):
            axis.set_xscale("log")
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.15)
    axes[0, 0].set_ylabel("AUROC")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure

"""Figures of chapter 08."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from sklearn.isotonic import isotonic_regression

from fcdd.figures import ANOMALOUS, NOMINAL

from .shared import dots
from .style import ORANGE, PURPLE, stamp

__all__ = [
    "ablations",
    "auroc_table",
    "bar_of_verdict",
    "critical_difference",
    "forest",
    "method_panels",
    "method_spread",
    "stamp",
    "summary",
]


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
    dots(axes, table[table["method"].isin(order)], "method", order, jitter=0.18, alpha=0.6, color=NOMINAL)
    means = table.groupby("method")["auroc"].mean().reindex(order)
    axes.scatter(range(len(order)), means, marker="_", s=900, color=ANOMALOUS, zorder=3, label="mean")
    axes.axhline(0.5, color="0.6", lw=1, ls=":")
    axes.set(xlabel="", ylabel="AUROC")
    axes.legend(frameon=False)
    plt.setp(axes.get_xticklabels(), rotation=25, ha="right")
    return figure


def method_panels(table, methods, datasets):
    """AUROC of each class, seeds averaged: a panel a data set, a row a method; the mean over classes as a stroke."""
    figure, axes = plt.subplots(1, len(datasets), figsize=(2.4 * len(datasets) + 1, 3.2), sharex=True, sharey=True)
    rows = {name: row for row, name in enumerate(methods)}
    for axis, dataset in zip(axes, datasets, strict=True):
        means = table[table["dataset"].eq(dataset) & table["method"].isin(methods)]
        means = means.groupby(["method", "normal"])["auroc"].mean().reset_index()
        axis.scatter(means["auroc"], means["method"].map(rows), s=14, alpha=0.6, color=NOMINAL)
        whole = means.groupby("method")["auroc"].mean()
        axis.scatter(whole, whole.index.map(rows), marker="|", s=160, lw=2.5, color=ANOMALOUS, zorder=3)
        axis.axvline(0.5, color="0.6", lw=1, ls=":")
        axis.set_title(dataset, fontsize=10)
    axes[0].set(yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.5, -0.5))
    axes[len(axes) // 2].set_xlabel("AUROC of images: a dot for each class, a stroke for their mean")
    return figure


VERDICTS = {  # verdict → colour, marker
    "reproduced": (NOMINAL, "o"),
    "within noise": (ORANGE, "s"),
    "undecided": (PURPLE, "^"),
    "not reproduced": (ANOMALOUS, "X"),
    "not run": ("0.65", "d"),
}


def bar_of_verdict(text: str) -> str:
    """CSS for a cell of a table that names a verdict, after its sign: a bar in the verdict's colour."""
    return f"border-left: 6px solid {VERDICTS[text.partition(' ')[2]][0]}"


def summary(table, columns: int = 3):
    """Every published cell and ours, a panel for each data set and method of a table of verdicts
    (:func:`fcdd_study.verdicts.verdicts`): published is a black stroke, ours a mark with its interval, a value from
    memory a grey stroke. Where a mean over classes is all that was published, it is in the last panel."""
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
    strokes = {"published": "black"} | ({"remembered, not judged": "0.6"} if table["remembered"].notna().any() else {})
    marks += [plt.Line2D([], [], ls="", marker="|", ms=11, mew=2, color=c, label=name) for name, c in strokes.items()]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False, fontsize=9)
    return figure


def _verdict_panel(axis, cells) -> None:
    """One panel of :func:`summary`: a class a row."""
    rows = np.arange(len(cells))
    axis.scatter(cells["published"], rows, marker="|", s=110, lw=2, color="black", zorder=2)
    axis.scatter(cells["remembered"], rows, marker="|", s=110, lw=2, color="0.6", zorder=2)
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


def forest(pairs):
    """Differences of pairs of methods with two intervals, a row a pair: for these very classes, over seeds (thick), and
    for a new class (thin); Holm's p beside them. ``pairs`` of :func:`fcdd_study.verdicts.compare`."""
    rows = np.arange(len(pairs))
    figure, axes = plt.subplots(figsize=(7, 0.38 * len(pairs) + 1.3))
    axes.axvline(0, color="0.6", lw=1, ls=":")
    axes.hlines(rows, pairs["low"], pairs["high"], color="0.55", lw=1.2, label="for a new class")
    axes.hlines(
        rows, pairs["seeds_low"], pairs["seeds_high"], color=NOMINAL, lw=5, label="for these classes, over seeds"
    )
    axes.scatter(pairs["difference"], rows, color="black", s=22, zorder=3)
    axes.set_yticks(rows, [f"{row.first} − {row.second}" for row in pairs.itertuples()])
    for row, p in zip(rows, pairs["p_holm"], strict=True):
        axes.annotate(f"p = {p:.2g}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.set(xlabel="difference in AUROC, 95 % intervals", ylim=(len(pairs) - 0.4, -0.6))
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
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
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.9 * rows), squeeze=False)
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
        ends = by_class["mean"].iloc[-1].dropna().sort_values()
        # As near to the ends of their lines as names can stand without covering each other.
        steps = np.arange(len(ends)) * half / 10
        for name, height in zip(ends.index, isotonic_regression(ends - steps) + steps, strict=True):
            axis.annotate(name, (by_class.index[-1], height), xytext=(3, 0), va="center",
                          textcoords="offset points", fontsize=8, color=NOMINAL)  # fmt: skip
        if not numbers:
            axis.set_xticks(range(len(values)), [str(value) for value in values], fontsize=8, rotation=20, ha="right")
        elif min(values) > 0 and max(values) > 20 * min(values):
            axis.set_xscale("log")
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.15)
    axes[0, 0].set_ylabel("AUROC")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure

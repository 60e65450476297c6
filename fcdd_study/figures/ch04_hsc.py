"""Figures of chapter 04."""

import matplotlib.pyplot as plt
import seaborn as sns

from fcdd.figures import NOMINAL, image_grid, picture_rows, score_histogram

from .shared import curves, dots, trend
from .style import lineage, stamp

__all__ = ["bars", "curves", "image_grid", "lineage", "picture_rows", "score_histogram", "stamp", "trend"]


def bars(table, x: str, xlabel: str):
    """Mean AUROC of each value of a column as a bar with its number, and a dot for every row."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    sns.barplot(table, x=x, y="auroc", errorbar=None, color=NOMINAL, alpha=0.75, ax=axes)
    axes.bar_label(axes.containers[0], fmt="%.2f", fontsize=9, label_type="center", color="white")
    dots(axes, table, x, table[x].unique(), jitter=0.08, color="black")
    axes.axhline(0.5, color="0.6", lw=1, ls=":")
    axes.set(xlabel=xlabel, ylabel="AUROC", ylim=(min(0.4, table["auroc"].min() - 0.05), 1))
    if sum(map(len, map(str, table[x].unique()))) > 45:
        plt.setp(axes.get_xticklabels(), rotation=25, ha="right")
    return figure

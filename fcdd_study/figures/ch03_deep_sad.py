"""Figures of chapter 03."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from fcdd.figures import ANOMALOUS, NOMINAL

from .shared import curves, trend
from .style import lineage, stamp

__all__ = ["curves", "lineage", "scores_by_group", "stamp", "trend"]


def scores_by_group(named_scores: dict, groups, order):
    """Anomaly scores of several detectors, each divided by its median, as boxes for every group of test images."""
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

"""A threshold that slides over two groups of scores, and its point on the ROC. Taught in: chapter 00."""

import matplotlib.pyplot as plt
import numpy as np

from fcdd import metrics
from fcdd.figures import ANOMALOUS, NOMINAL

from .. import protocol
from . import rounded
from .shared import nominal_class

FALSE_ALARMS = 0.2  # where it begins


def data(profile: str, device: str) -> dict:
    """The scores of the chapter's detector, the squared distance to the mean image, in both groups of test images."""
    normal = nominal_class(profile, "Sandal")
    split = protocol.split(profile, normal)
    mean = split.train.images.float().mean(0)
    scores = ((split.test.images.float() - mean) ** 2).flatten(1).mean(1).numpy() / 1000
    groups = {"nominal": scores[~split.test.anomalous], "anomalous": scores[split.test.anomalous]}
    run = f"{profile}, nominal {normal}, squared distance to the mean image"
    return {"run": run, **{name: rounded(np.sort(group), 3) for name, group in groups.items()}}


def still(data: dict):
    """Both histograms with a threshold, and the ROC with its point."""
    nominal, anomalous = np.array(data["nominal"]), np.array(data["anomalous"])
    threshold = np.quantile(nominal, 1 - FALSE_ALARMS)
    false, found = ((group > threshold).mean() for group in (nominal, anomalous))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.3), width_ratios=(1.4, 1))
    bins = np.linspace(0, np.quantile(anomalous, 0.995), 41)
    for group, name, colour in ((nominal, "nominal", NOMINAL), (anomalous, "anomalous", ANOMALOUS)):
        left.hist(group, bins, weights=np.full(len(group), 1 / len(group)), alpha=0.55, color=colour, label=name)
    left.axvline(threshold, color="black", lw=1.5)
    left.set(xlabel="anomaly score / 1000", ylabel="share of the group", xlim=(0, bins[-1]))
    left.legend(frameon=False)
    levels = np.concatenate([[np.inf], np.sort(np.concatenate([nominal, anomalous]))[::-1], [-np.inf]])
    curve = [[(group > level).mean() for level in levels] for group in (nominal, anomalous)]
    right.plot(*curve, color=NOMINAL)
    right.plot([0, 1], [0, 1], ":", color="0.6")
    right.scatter(false, found, s=50, color="black", zorder=3)
    scores, truth = np.concatenate([nominal, anomalous]), np.arange(len(nominal) + len(anomalous)) >= len(nominal)
    right.set(xlabel="false alarms: share of nominal", ylabel="found: share of anomalous", aspect="equal")
    right.set_title(f"AUROC {metrics.auroc(truth, scores):.3f}", fontsize=10)
    return figure

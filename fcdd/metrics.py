"""AUROC for images and pixels, AUPRO, bootstrap intervals and paired tests. Taught in: chapters 00, 06 and 08."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage, stats


def auroc(anomalous, scores) -> float:
    r"""Area under the ROC curve: :math:`P(s_{anomalous} > s_{nominal}) + \frac12 P(s_{anomalous} = s_{nominal})`.

    ``anomalous`` (N,) boolean ground truth, ``scores`` (N,), higher = more anomalous. One sort, exact with ties.
    Raises ValueError for NaN, for other shapes, or if one of the two groups is missing.
    """
    anomalous, scores = _checked(anomalous, scores)
    positives, negatives = scores[anomalous], np.sort(scores[~anomalous])
    below = np.searchsorted(negatives, positives, "left").sum(dtype=np.float64)
    up_to = np.searchsorted(negatives, positives, "right").sum(dtype=np.float64)
    return float((below + up_to) / (2.0 * len(positives) * len(negatives)))


def pixel_auroc(masks, maps) -> float:
    """AUROC over all pixels of all images, pooled: ``masks`` boolean, (N, H, W) or (N, 1, H, W), ``maps`` (N, H, W)."""
    masks, maps = _same_shape(masks, maps)
    return auroc(masks.ravel(), maps.ravel())


def aupro(masks, maps, fpr_limit: float = 0.3) -> float:
    r"""Area under the per-region-overlap curve up to a false-positive rate, scaled to [0, 1].

    For every connected defect (8-neighbourhood) the share of its pixels above a threshold is drawn against the share
    of nominal pixels above it; the curves are averaged over defects. Integrated pixel by pixel, the area is the mean
    over defects and their pixels j of :math:`\max(0, 1 - FPR(s_j) / limit)`. Source: Bergmann et al. 2019.
    ``masks`` boolean, (N, H, W) or (N, 1, H, W), ``maps`` (N, H, W).
    Raises ValueError as :func:`auroc` and for a limit outside (0, 1].
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"expected 0 < fpr_limit <= 1, got {fpr_limit}")
    masks, maps = _same_shape(masks, maps)
    _checked(masks.ravel(), maps.ravel())
    nominal = np.sort(maps[~masks])
    # Connect inside an image, never across images.
    regions, count = ndimage.label(masks, structure=np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]))
    scores = maps[masks]
    above = len(nominal) - (np.searchsorted(nominal, scores, "left") + np.searchsorted(nominal, scores, "right")) / 2
    gain = np.clip(1 - above / len(nominal) / fpr_limit, 0, None)
    return float(ndimage.mean(gain, regions[masks], np.arange(1, count + 1)).mean())


class Interval(NamedTuple):
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean of ``values`` (n,), e.g. AUROCs over classes and seeds."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return Interval(float(values.mean()), np.nan, np.nan)
    result = stats.bootstrap((values,), np.mean, confidence_level=level, method="percentile", rng=seed)
    return Interval(float(values.mean()), *map(float, result.confidence_interval))


def paired_test(first, second) -> float:
    """p-value of Wilcoxon's signed-rank test: do two methods differ on the same splits? Both (n,), same order."""
    return float(stats.wilcoxon(first, second).pvalue)


def _same_shape(masks, maps):
    masks, maps = np.asarray(masks) > 0, np.asarray(maps)
    masks = masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if masks.shape != maps.shape or maps.ndim != 3:
        raise ValueError(f"expected masks and maps of one shape (N, H, W), got {masks.shape} and {maps.shape}")
    return masks, maps


def _checked(anomalous, scores):
    anomalous, scores = np.asarray(anomalous), np.asarray(scores)
    if anomalous.shape != scores.shape or scores.ndim != 1:
        raise ValueError(f"expected one score for each label, got shapes {anomalous.shape} and {scores.shape}")
    if anomalous.dtype != bool and not set(np.unique(anomalous)) <= {0, 1}:
        raise ValueError("expected ground truth as booleans, True = anomalous; for ±1 labels pass y == -1")
    anomalous = anomalous.astype(bool)
    if np.isnan(scores).any():
        raise ValueError(f"expected scores without NaN, found {int(np.isnan(scores).sum())}")
    if anomalous.all() or not anomalous.any():
        raise ValueError(f"expected nominal and anomalous samples, got {anomalous.sum()} anomalous of {len(anomalous)}")
    return anomalous, scores

"""Bootstrap intervals over classes, seeds and images, and paired tests. Taught in: chapters 06 and 08."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from fcdd import metrics

BINS = 4096  # levels that nominal pixels are told apart by in a bootstrap


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


def auroc_interval(anomalous, scores, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Interval:
    """AUROC of images, exact, with a percentile bootstrap over images, nominal and anomalous ones drawn apart."""
    exact = metrics.auroc(anomalous, scores)
    anomalous, scores = np.asarray(anomalous, bool), np.asarray(scores)
    weights = _weights(anomalous, resamples, seed)
    # The share of drawn nominal images below each drawn anomalous one, all resamples at once.
    wins = (scores[anomalous][:, None] > scores[~anomalous]) + 0.5 * (scores[anomalous][:, None] == scores[~anomalous])
    positive, negative = weights[:, anomalous], weights[:, ~anomalous]
    values = ((positive @ wins) * negative).sum(1) / (positive.sum(1) * negative.sum(1))
    return _interval(exact, values, level)


def pixel_intervals(masks, maps, fpr_limit=0.3, level=0.95, resamples=1000, seed=0) -> dict[str, Interval]:
    """Pixel AUROC and AUPRO, exact, with a percentile bootstrap over whole images: pixels of one image are no more
    independent of each other than its defects are. Images with and without defects are drawn apart.

    Takes what :func:`fcdd.metrics.aupro` takes; keys are "pixel AUROC" and "AUPRO". Up to ``BINS`` nominal pixels are
    resampled as they are; of more, those between two of ``BINS`` levels tie, which moves an end of an interval by about
    1 / (2 · ``BINS``) at most, for AUPRO by that over ``fpr_limit``.
    """
    masks, maps = metrics.as_lists(masks, maps)
    exact = metrics.pixel_auroc(masks, maps), metrics.aupro(masks, maps, fpr_limit)
    nominal = np.sort(np.concatenate([heat[~mask] for mask, heat in zip(masks, maps, strict=True)]))
    edges = np.unique(nominal[np.linspace(0, len(nominal) - 1, BINS).astype(int)])
    del nominal
    levels = 2 * len(edges) + 1  # each edge, and what lies between two
    good, bad, gain = (np.zeros((len(maps), levels)) for _ in range(3))
    count = np.zeros(len(maps))
    for k, (mask, heat) in enumerate(zip(masks, maps, strict=True)):
        up_to = np.stack([*metrics.ranks(np.sort(heat[~mask]), edges)], 1)
        good[k] = np.diff(up_to.ravel(), prepend=0, append=(~mask).sum())
        scores, regions, sizes = metrics.defects(mask, heat)
        inside = sum(metrics.ranks(edges, scores))
        bad[k] = np.bincount(inside, minlength=levels)
        gain[k], count[k] = np.bincount(inside, 1 / sizes[regions], levels), len(sizes)
    weights = np.array_split(_weights(count > 0, resamples, seed), -(-resamples // 4))
    ends = np.concatenate([_resampled(some, good, bad, gain, count, fpr_limit) for some in weights]).T
    return {name: _interval(*each, level) for name, *each in zip(("pixel AUROC", "AUPRO"), exact, ends, strict=True)}  # type: ignore[call-arg]


def _resampled(weights, good, bad, gain, count, fpr_limit) -> np.ndarray:
    """(B, 2) pixel AUROC and AUPRO of resamples, from numbers of images (B, N) and their histograms (N, levels)."""
    good, bad, gain = weights @ good, weights @ bad, weights @ gain
    up_to, total = good.cumsum(1), good.sum(1, keepdims=True)
    overlap = metrics.overlap(1 - up_to / total, good / total, fpr_limit)
    auroc = (bad * (up_to - good / 2)).sum(1) / (bad.sum(1) * total[:, 0])
    return np.stack([auroc, (gain * overlap).sum(1) / (weights @ count)], 1)


def _weights(anomalous, resamples: int, seed: int) -> np.ndarray:
    """(resamples, N): how often each image is drawn, the two groups apart."""
    rng, weights = np.random.default_rng(seed), np.zeros((resamples, len(anomalous)))
    for group in (anomalous, ~anomalous):
        if n := int(group.sum()):
            weights[:, group] = rng.multinomial(n, np.full(n, 1 / n), resamples)
    return weights


def _interval(value: float, resampled, level: float) -> Interval:
    return Interval(value, *map(float, np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])))


def paired_test(first, second) -> float:
    """p-value of Wilcoxon's signed-rank test: do two methods differ on the same splits? Both (n,), same order."""
    return float(stats.wilcoxon(first, second).pvalue)

"""AUROC for images and pixels, AUPRO, bootstrap intervals and paired tests. Taught in: chapters 00, 06 and 08."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage, stats


def auroc(anomalous, scores) -> float:
    r"""Area under the ROC curve: :math:`P(s_{anomalous} > s_{nominal}) + \frac12 P(s_{anomalous} = s_{nominal})`.

    ``anomalous`` (N,) boolean ground truth, ``scores`` (N,), higher = more anomalous. Exact with ties: every sample is
    sorted once, among its kind, and one kind is looked up in the other.
    Raises ValueError for NaN, for other shapes, or if one of the two groups is missing.
    """
    anomalous, scores = _checked(anomalous, scores)
    return _won_pairs(np.sort(scores[~anomalous]), np.sort(scores[anomalous]))


def pixel_auroc(masks, maps) -> float:
    """AUROC over all pixels of all images, pooled: ``masks`` boolean, (N, H, W) or (N, 1, H, W), ``maps`` (N, H, W).

    Images of several sizes are lists of (H, W).
    """
    masks, maps = _pairs(masks, maps)
    return _won_pairs(*_pixels(masks, maps))


def aupro(masks, maps, fpr_limit: float = 0.3) -> float:
    r"""Area under the per-region-overlap curve up to a false-positive rate, scaled to [0, 1].

    For every connected defect (8-neighbourhood) the share of its pixels above a threshold is drawn against the share
    of nominal pixels above it; the curves are averaged over defects. Integrated pixel by pixel, the area is the mean
    over defects and their pixels j of :math:`\max(0, 1 - FPR(s_j) / limit)`. Source: Bergmann et al. 2019.
    ``masks`` boolean, (N, H, W) or (N, 1, H, W), ``maps`` (N, H, W); lists of (H, W) for images of several sizes.
    Raises ValueError as :func:`auroc` and for a limit outside (0, 1].
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"expected 0 < fpr_limit <= 1, got {fpr_limit}")
    masks, maps = _pairs(masks, maps)
    return _mean_overlap(_pixels(masks, maps)[0], masks, maps, fpr_limit)


def at_original_resolution(maps, masks, mode: str = "nearest") -> list[np.ndarray]:
    """Heatmaps (N, H, W) enlarged to the sizes of ``masks``, a list of (H, W) arrays as
    :func:`fcdd.datasets.original_masks` gives them: the paper's evaluation, "at original resolution".

    Evaluation of maps as they are, with masks made as small, is "at network resolution". ``mode`` is that of
    ``torch.nn.functional.interpolate``; the official code takes the nearest pixel.
    """
    import torch  # here, because all else needs NumPy only
    from torch.nn import functional as F

    maps = torch.from_numpy(np.asarray(maps, np.float32))
    sizes = [np.asarray(mask).shape for mask in masks]
    return [
        F.interpolate(heat[None, None], size, mode=mode)[0, 0].numpy() for heat, size in zip(maps, sizes, strict=True)
    ]


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
    anomalous, scores = _checked(anomalous, scores)
    weights = _weights(anomalous, resamples, seed)
    # The share of drawn nominal images below each drawn anomalous one, all resamples at once.
    wins = (scores[anomalous][:, None] > scores[~anomalous]) + 0.5 * (scores[anomalous][:, None] == scores[~anomalous])
    positive, negative = weights[:, anomalous], weights[:, ~anomalous]
    values = ((positive @ wins) * negative).sum(1) / (positive.sum(1) * negative.sum(1))
    return _interval(auroc(anomalous, scores), values, level)


def pixel_intervals(
    masks, maps, fpr_limit: float = 0.3, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Pixel AUROC and AUPRO, exact, with a percentile bootstrap over whole images: pixels of one image are no more
    independent of each other than its defects are. Images with and without defects are drawn apart.

    Takes what :func:`aupro` takes; keys are "pixel AUROC" and "AUPRO". The resamples see scores rounded to ``BINS``
    levels with equally many nominal pixels each, which moves an end of an interval by at most 1 / (2 · ``BINS``), for
    AUPRO by that over ``fpr_limit``.
    """
    masks, maps = _pairs(masks, maps)
    nominal, anomalous = _pixels(masks, maps)
    exact = _won_pairs(nominal, anomalous), _mean_overlap(nominal, masks, maps, fpr_limit)
    edges = np.unique(nominal[np.linspace(0, len(nominal) - 1, BINS).astype(int)])
    del nominal, anomalous
    levels = len(edges) + 1
    good, bad, gain = (np.zeros((len(maps), levels)) for _ in range(3))
    count = np.zeros(len(maps))
    for k, (mask, heat) in enumerate(zip(masks, maps, strict=True)):
        # Sorted pixels are many times faster to count than to look up one by one.
        up_to = np.searchsorted(np.sort(heat[~mask]), edges, "right")
        good[k] = np.diff(up_to, prepend=0, append=(~mask).sum())
        inside = np.searchsorted(edges, heat[mask])
        regions, sizes = _regions(mask)
        bad[k] = np.bincount(inside, minlength=levels)
        gain[k], count[k] = np.bincount(inside, 1 / sizes[regions], levels), len(sizes)
    values = [
        _resampled(weights[None], good, bad, gain, count, fpr_limit) for weights in _weights(count > 0, resamples, seed)
    ]
    ends = np.concatenate(values).T
    return {
        name: _interval(mean, end, level) for name, mean, end in zip(("pixel AUROC", "AUPRO"), exact, ends, strict=True)
    }


BINS = 4096


def _resampled(weights, good, bad, gain, count, fpr_limit) -> np.ndarray:
    """(B, 2) pixel AUROC and AUPRO of resamples, from numbers of images (B, N) and their histograms (N, levels)."""
    good, bad, gain = weights @ good, weights @ bad, weights @ gain
    total = good.sum(1, keepdims=True)
    below = (good.cumsum(1) - good / 2) / total
    overlap = np.clip(1 - (1 - below) / fpr_limit, 0, None)
    return np.stack([(bad * below).sum(1) / bad.sum(1), (gain * overlap).sum(1) / (weights @ count)], 1)


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


def _pairs(masks, maps) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Masks and maps as lists of (H, W)."""
    masks, maps = [np.asarray(m) > 0 for m in masks], [np.asarray(m) for m in maps]
    masks = [m[0] if m.ndim == 3 and len(m) == 1 else m for m in masks]
    shapes = [m.shape for m in masks], [m.shape for m in maps]
    if shapes[0] != shapes[1] or any(len(shape) != 2 for shape in shapes[1]):
        raise ValueError(
            "expected masks and maps of one shape (N, H, W), got "
            + " and ".join(f"{len(each)} of {', '.join(map(str, sorted(set(each))))}" for each in shapes)
        )
    return masks, maps


def _pixels(masks, maps) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all nominal and of all anomalous pixels, both sorted. Raises ValueError as :func:`auroc`."""
    if missing := sum(int(np.isnan(heat).sum()) for heat in maps):
        raise ValueError(f"expected scores without NaN, found {missing}")
    kinds = []
    for anomalous in (False, True):
        kind = np.concatenate([heat[mask == anomalous] for mask, heat in zip(masks, maps, strict=True)])
        if not len(kind):
            raise ValueError("expected nominal and anomalous samples, got pixels of one kind only")
        kind.sort()
        kinds.append(kind)
    return tuple(kinds)


def _won_pairs(nominal, anomalous) -> float:
    """The share of pairs whose anomalous score is the higher one, ties counted half. Both sorted: look-ups in order
    find their place near the last one's, many times faster than at random places."""
    below = np.searchsorted(nominal, anomalous, "left").sum(dtype=np.float64)
    up_to = np.searchsorted(nominal, anomalous, "right").sum(dtype=np.float64)
    return float((below + up_to) / (2.0 * len(anomalous) * len(nominal)))


def _mean_overlap(nominal, masks, maps, fpr_limit: float) -> float:
    """:func:`aupro`, given the sorted scores of all nominal pixels."""
    overlaps = []
    for mask, heat in zip(masks, maps, strict=True):
        regions, sizes = _regions(mask)
        scores = heat[mask]
        order = np.argsort(scores)  # for the same reason
        scores, regions = scores[order], regions[order]
        below = (np.searchsorted(nominal, scores, "left") + np.searchsorted(nominal, scores, "right")) / 2
        gain = np.clip(1 - (len(nominal) - below) / len(nominal) / fpr_limit, 0, None)
        overlaps.append(np.bincount(regions, gain, len(sizes)) / sizes)
    return float(np.concatenate(overlaps).mean())


def _regions(mask) -> tuple[np.ndarray, np.ndarray]:
    """For each anomalous pixel of one image the number of its connected defect, and the sizes of the defects."""
    regions = ndimage.label(mask, np.ones((3, 3)))[0][mask] - 1
    return regions, np.bincount(regions)


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

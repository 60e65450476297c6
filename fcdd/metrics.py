"""AUROC for images and pixels, AUPRO. Taught in: chapters 00, 06 and 08."""

import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module

import numpy as np
from scipy import ndimage


def auroc(anomalous, scores) -> float:
    r"""Area under the ROC curve: :math:`P(s_{anomalous} > s_{nominal}) + \frac12 P(s_{anomalous} = s_{nominal})`.

    ``anomalous`` (N,) boolean ground truth, ``scores`` (N,), higher = more anomalous. Exact with ties: every sample is
    sorted once, among its kind, and one kind is looked up in the other.
    Raises ValueError for NaN, for other shapes, or if one of the two groups is missing.
    """
    anomalous, scores = _checked(anomalous, scores)
    return _won_pairs(np.sort(scores[~anomalous]), np.sort(scores[anomalous]))


def pixel_auroc(masks, maps) -> float:
    """AUROC over all pixels of all images, pooled, given the ``masks`` and ``maps`` that :func:`aupro` takes."""
    return _won_pairs(*_pixels(*as_lists(masks, maps)))


def aupro(masks, maps, fpr_limit: float = 0.3) -> float:
    r"""Area under the per-region-overlap curve up to a false-positive rate, scaled to [0, 1].

    For every connected defect (8-neighbourhood) the share of its pixels above a threshold is drawn against the share
    of nominal pixels above it; the curves are averaged over defects. Between two thresholds the curve is a straight
    line, as the ROC curve is, also where the limit cuts through ties. Source: Bergmann et al. 2019. Integrated pixel by
    pixel, the area is the mean over defects and their pixels of :math:`(\max(0, L - b) + m^2 / (2 (b - a))) / L`, with
    L the limit, a and b the shares of nominal pixels that score higher, and as high or higher, and
    :math:`m = \min(\max(0, L - a), b - a)`.
    ``masks`` boolean, (N, H, W) or (N, 1, H, W), ``maps`` (N, H, W); lists of (H, W) for images of several sizes.
    Raises ValueError as :func:`auroc` and for a limit outside (0, 1].
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"expected 0 < fpr_limit <= 1, got {fpr_limit}")
    masks, maps = as_lists(masks, maps)
    nominal, overlaps = _pixels(masks, maps)[0], []
    for mask, heat in zip(masks, maps, strict=True):
        scores, regions, sizes = defects(mask, heat)
        below, up_to = (rank / len(nominal) for rank in ranks(nominal, scores))
        overlaps.append(np.bincount(regions, overlap(1 - up_to, up_to - below, fpr_limit), len(sizes)) / sizes)
    return float(np.concatenate(overlaps).mean())


def smallest_found(masks, maps, fpr: float = 0.05, share: float = 0.9) -> float:
    """The area, as a share of the image, from which on at least ``share`` of all defects are found; 1 if there is none.

    A connected defect is found if its highest value is above the highest values of all but ``fpr`` of the images
    without defects: what an alarm at that rate of false ones shows. Takes what :func:`aupro` takes. Raises ValueError
    as :func:`auroc`, and without images without defects.
    """
    masks, maps = as_lists(masks, maps)
    _check(masks, maps)
    good = [heat.max() for mask, heat in zip(masks, maps, strict=True) if not mask.any()]
    if not good:
        raise ValueError("expected some images without defects, to say what counts as found, got none")
    alarm, areas, found = np.quantile(good, 1 - fpr, method="higher"), [], []
    for mask, heat in zip(masks, maps, strict=True):
        scores, regions, sizes = defects(mask, heat)
        highest = np.full(len(sizes), -np.inf)
        np.maximum.at(highest, regions, scores)
        areas.append(sizes / mask.size)
        found.append(highest > alarm)
    order = np.argsort(-np.concatenate(areas), kind="stable")
    enough = np.cumsum(np.concatenate(found)[order]) >= share * np.arange(1, len(order) + 1)
    return float(np.concatenate(areas)[order][enough].min(initial=1.0))


def at_original_resolution(maps, masks, mode: str = "nearest") -> list[np.ndarray]:
    """Heatmaps (N, H, W) enlarged to the sizes of ``masks``, a list of (H, W) as :func:`fcdd.datasets.original_masks`
    gives them: the paper's evaluation, "at original resolution" (without this it is "at network resolution").

    ``mode`` is that of ``torch.nn.functional.interpolate``; the official code takes the nearest pixel.
    """
    import torch  # here, because all else needs NumPy only

    maps = torch.from_numpy(np.asarray(maps, np.float32))[:, None, None]
    resize = partial(torch.nn.functional.interpolate, mode=mode)
    return [resize(heat, np.shape(mask))[0, 0].numpy() for heat, mask in zip(maps, masks, strict=True)]


def as_lists(masks, maps) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Masks and maps as lists of (H, W)."""
    masks, maps = [np.asarray(m) > 0 for m in masks], [np.asarray(m) for m in maps]
    masks = [m[0] if m.ndim == 3 and len(m) == 1 else m for m in masks]
    shapes = [[each.shape for each in kind] for kind in (masks, maps)]
    if shapes[0] != shapes[1] or any(len(shape) != 2 for shape in shapes[1]):
        got = (f"{len(each)} of {', '.join(map(str, sorted(set(each))))}" for each in shapes)
        raise ValueError(f"expected masks and maps of one shape (N, H, W), got {' and '.join(got)}")
    return masks, maps


def _pixels(masks, maps) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all nominal and of all anomalous pixels, both sorted. Raises ValueError as :func:`auroc`."""
    _check(masks, maps)
    kinds = [np.concatenate([h[m == kind] for m, h in zip(masks, maps, strict=True)]) for kind in (False, True)]
    for scores in kinds:
        scores.sort()
    return kinds[0], kinds[1]


def ranks(ordered, scores) -> Iterator[np.ndarray]:
    """How many of ``ordered`` lie below each of ``scores``, then how many up to it; fast if these are sorted, too."""
    return (np.searchsorted(ordered, scores, side) for side in ("left", "right"))


def _won_pairs(nominal, anomalous) -> float:
    """The share of pairs whose anomalous score is the higher one, ties counted half. Both sorted."""
    won = sum(map(partial(np.sum, dtype=np.float64), ranks(nominal, anomalous)))
    return float(won / (2.0 * len(anomalous) * len(nominal)))


def overlap(above, tied, limit: float) -> np.ndarray:
    """What anomalous pixels add to :func:`aupro`, in [0, 1]: the area left of the ``limit`` below a curve that rises
    from ``above``, the share of nominal pixels with a higher score, over ``tied``, the share with the same one."""
    rising = np.clip(limit - above, 0, tied)
    return (np.clip(limit - above - tied, 0, None) + rising**2 / (2 * np.where(tied > 0, tied, 1))) / limit


def defects(mask, heat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sorted scores of one image's anomalous pixels, the number of each one's defect, and the defects' sizes."""
    order = np.argsort(heat[mask])
    regions = ndimage.label(mask, np.ones((3, 3)))[0][mask][order] - 1
    return heat[mask][order], regions, np.bincount(regions)


def _checked(anomalous, scores):
    """Ground truth and scores as arrays. Raises ValueError as :func:`auroc`."""
    anomalous, scores = np.asarray(anomalous), np.asarray(scores)
    if anomalous.shape != scores.shape or scores.ndim != 1:
        raise ValueError(f"expected one score for each label, got shapes {anomalous.shape} and {scores.shape}")
    if anomalous.dtype != bool and not set(np.unique(anomalous)) <= {0, 1}:
        raise ValueError("expected ground truth as booleans, True = anomalous; for ±1 labels pass y == -1")
    _check([anomalous], [scores])
    return anomalous.astype(bool), scores


def _check(anomalous, scores) -> None:
    """Raises ValueError unless lists of arrays hold both kinds of samples and no NaN."""
    if missing := sum(int(np.isnan(each).sum()) for each in scores):
        raise ValueError(f"expected scores without NaN, found {missing}")
    found, total = sum(map(np.count_nonzero, anomalous)), sum(map(np.size, anomalous))
    if not 0 < found < total:
        raise ValueError(f"expected nominal and anomalous samples, got {found} anomalous of {total}: one kind alone")


MOVED = {"Interval", "auroc_interval", "bootstrap_interval", "paired_test", "pixel_intervals"}  # since version 0.1


def __getattr__(name: str):
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    text = f"fcdd.metrics.{name} is now fcdd_study.statistics.{name}; the old name is dropped in the next version"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return getattr(import_module("fcdd_study.statistics"), name)

r"""Which threshold keeps a promised rate of false alarms: split conformal prediction.

n scores of good images that the detector has not learnt from, in order; the threshold is the k-th smallest,

.. math:: k = \lceil (n + 1)(1 - \alpha) \rceil

A new good image from the same conditions is equally likely to fall into each of the n + 1 gaps between them, so that it
lies above with probability (n + 1 - k) / (n + 1) ≤ α. That is the mean over calibrations. The rate of one detector is
a draw from the beta distribution with parameters n + 1 - k and k. Source: Vovk 2012; Angelopoulos and Bates 2023;
with groups, Lee, Barber and Willett 2023. Taught in: the page on thresholds.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95  # of the interval that is told with a threshold


class Calibration(NamedTuple):
    """A threshold and what is promised of it. ``low`` and ``high`` are NaN where nothing is known of one detector."""

    threshold: float  # an image whose anomaly score is above it is called anomalous
    fpr: float  # the rate of false alarms asked for
    images: int
    groups: int = 0  # 0: images are taken to be independent of each other
    folds: int = 0  # 0: the detector itself gave the scores
    rate: float = math.nan  # its mean over calibrations
    low: float = math.nan
    high: float = math.nan

    def __str__(self):
        text = f"threshold {self.threshold:.4g} from {self.images} good images"
        if self.folds:
            kin = f" or its group ({self.groups} groups)" if self.groups else ""
            text += (
                f", each scored by one of {self.folds} models that did not see it{kin}: about {self.fpr:.3g} of new "
            )
            return f"{text}good images are above it; nothing is guaranteed, as the detector itself has seen them all"
        whole = f"image of a new group ({self.groups} groups)" if self.groups else "image"
        text += f" held out: a new good {whole} from the same conditions is above it with probability {self.rate:.3g}, "
        text += "on average over such calibrations"
        if math.isnan(self.low):
            return text
        return f"{text}; this detector's own rate lies between {self.low:.2g} and {self.high:.2g} ({LEVEL:.0%})"


def calibrate(scores, fpr: float = 0.05, groups=None, folds: int = 0) -> Calibration:
    """The threshold that keeps the rate ``fpr`` of false alarms, from anomaly scores (n,) of good images.

    groups: (n,) names of sheets, days or batches, of which images are alike: then the promise is about an image of a
    new group, and each group weighs the same. With ``folds``, where nothing is guaranteed, images stay the unit.
    Raises ValueError for scores that are not finite, and where no threshold keeps the rate, with the smallest rate
    that can be kept: 1 / (n + 1), or that of the number of groups.
    """
    scores = np.asarray(scores, float)
    groups = None if groups is None else np.asarray(groups)
    count = units(len(scores), None if folds else groups, fpr)
    if not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores, got {(~np.isfinite(scores)).sum()} others of {len(scores)}")
    if groups is None or folds:
        k = rank(count, fpr)
        rate, ends = (count + 1 - k) / (count + 1), map(float, stats.beta.interval(LEVEL, count + 1 - k, k))
        kin = 0 if groups is None else len(np.unique(groups))
        return Calibration(float(np.sort(scores)[k - 1]), fpr, count, kin, folds, rate, *ends)
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = scores.argsort(kind="stable")
    below = np.cumsum(1 / ((count + 1) * sizes[member[order]]))
    place = min(np.searchsorted(below, 1 - fpr - 1e-9), len(scores) - 1)
    return Calibration(float(scores[order[place]]), fpr, len(scores), count, folds, fpr)


def rank(n: int, fpr: float) -> int:
    """k, counted from 1; n + 1 where no threshold keeps the rate."""
    return math.ceil((n + 1) * (1 - fpr) - 1e-9)


def units(n: int, groups, fpr: float) -> int:
    """How many images, or groups, a calibration rests on. Raises ValueError if they cannot keep the rate."""
    if not 0 < fpr < 1:
        raise ValueError(f"expected a rate of false alarms between 0 and 1, got {fpr}")
    if groups is not None and len(groups) != n:
        raise ValueError(f"expected one group for each of the {n} images, got {len(groups)}")
    count, what = (n, "good images") if groups is None else (len(np.unique(groups)), "groups of good images")
    if rank(count, fpr) > count:
        least = f"expected at least {math.ceil(1 / fpr - 1 - 1e-9)}"
        raise ValueError(
            f"no threshold keeps a rate of {fpr:.3g} with {count} {what}: {least}. The smallest rate that {count} can "
            f"keep is {1 / (count + 1):.3g}: ask for that or more, or add {what}"
        )
    return count


def choose(n: int, fpr: float, groups=None) -> dict:
    """What ``fit`` is told for n good images: a fifth of them, or of the ``groups`` (n,), held out if that can keep the
    rate, or else four folds.

    Where not even all of them can, neither, with a warning that names the smallest rate.
    """
    count = n if groups is None else len(np.unique(groups))
    fifth = max(1, round(0.2 * count))
    if rank(fifth, fpr) <= fifth and count > fifth:
        return {"held_out": 0.2}
    if rank(n, fpr) <= n and count >= 2:
        return {"folds": min(4, count)}
    why = "one image or group alone cannot be set aside"
    if rank(n, fpr) > n:
        why = f"{n} good images cannot keep a rate of {fpr:.3g}, the smallest is {1 / (n + 1):.3g}"
    text = f"no threshold is calibrated: {why}; call calibrate with more good images, or at a higher rate"
    warnings.warn(text, stacklevel=3)
    return {}


def p_values(known, scores) -> np.ndarray:
    """(N,) conformal p-values of ``scores``: how often a good image scores as high, judged by the ``known`` (n,) scores
    of good images that were not learnt from; 1 / (n + 1) at the least. Source: Vovk 2012; Bates et al. 2023."""
    known = np.sort(np.asarray(known, np.float32))
    return (1 + len(known) - np.searchsorted(known, np.asarray(scores, np.float32), "left")) / (len(known) + 1)


class Shift(NamedTuple):
    """Whether good images still look like those that the threshold was calibrated on."""

    p: float  # of the two-sample test of Kolmogorov and Smirnov: how often such a difference is chance
    known: int
    new: int
    higher: float  # the share of pairs in which the new image scores higher; 0.5 where nothing has moved
    censored: bool  # images above the threshold were left out of both samples, as nobody says which of them are good

    def __bool__(self):
        return self.p < 0.01

    def __str__(self):
        which = "good images that are called nominal" if self.censored else "good images"
        if not self:
            return f"no shift found: {self.new} {which} score like the {self.known} calibrated on (p = {self.p:.2g})"
        way = "higher" if self.higher > 0.5 else "lower"
        text = f"the good images have changed: {self.new} {which} score {way} than the {self.known} calibrated on "
        return f"{text}(p = {self.p:.1g}); the promised rate of false alarms does not hold for them: calibrate again"


def shift(known, new, threshold: float = math.inf) -> Shift | None:
    """Tests the scores (n,) of good images of today against those ``known`` from the calibration.

    Below a finite ``threshold``, only what lies below it is compared, in both: then images that nobody has labelled can
    be tested, too. None with fewer than five on a side, which could show nothing.
    """
    known, new = (kept[kept <= threshold] for kept in (np.asarray(known, float), np.asarray(new, float)))
    if min(len(known), len(new)) < 5:
        return None
    test = stats.ks_2samp(known, new)
    higher = stats.mannwhitneyu(new, known).statistic / (len(known) * len(new))
    return Shift(float(test.pvalue), len(known), len(new), float(higher), math.isfinite(threshold))


def parts(nominal, seed: int, groups=None, *, share: float = 0.0, count: int = 0) -> list[np.ndarray]:
    """Parts of the ``nominal`` samples, (N,) boolean each, drawn by ``seed``: one of a ``share``, or ``count`` disjoint
    ones; groups stay whole. Raises ValueError where there are too few samples or groups."""
    if not 0 <= share < 1:
        raise ValueError(f"expected a share held out between 0 and 1, got {share}")
    nominal = np.asarray(nominal, bool)
    places = np.flatnonzero(nominal)
    if groups is not None and len(groups) != len(nominal):
        raise ValueError(f"expected one group for each of the {len(nominal)} images, got {len(groups)}")
    unit = np.arange(len(places)) if groups is None else np.unique(np.asarray(groups)[places], return_inverse=True)[1]
    number = int(unit.max()) + 1 if len(unit) else 0
    if number < (least := 2 if share else max(2, count)):
        what = "good images" if groups is None else "groups of good images"
        raise ValueError(f"expected at least {least} {what} to divide into parts, got {number}")
    order = np.random.default_rng(seed).permutation(number)
    cut = [order[: max(1, round(share * number))]] if share else np.array_split(order, count)
    return [np.isin(np.arange(len(nominal)), places[np.isin(unit, part)]) for part in cut]

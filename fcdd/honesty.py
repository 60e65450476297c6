r"""Is your exposure honest? Whether outliers can be told from nominal images by how they were made, not what they show.

An exposure that was resized, compressed or photographed in another way trains a detector of just that: on real
anomalies, which come from the nominal images' own camera, it then fails. A high AUROC against the exposure alone is no
fault, as it should show something else. Two measurements need neither labels nor test images: does a classifier that
sees no more than differences of neighbouring pixels tell the two apart, and does the detector's own ranking fall once
outliers are filtered to the sharpness of nominal images? Taught in: chapter 04.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .augment import as_float, as_uint8
from .checks import as_images
from .metrics import auroc

TOLD, FALL, SAME = 0.8, 0.1, 0.6  # from which AUROC, which fall of it and which AUROC on the same content on it warns
COARSE, BINS = 0.1, 16  # cycles a pixel below which sharpness does not show; rings of the power spectrum
MOST, BLOCK = 2000, 1024  # images that are measured, and that are filtered at a time
UNSEEN = (
    "Not seen: what no frequency shows (a colour cast, borders, compression in blocks), whether the exposure shows "
    "enough besides, and whether it holds nominal images."
)


class Findings(NamedTuple):
    """AUROCs of nominal images against outliers: of the classifier of neighbouring pixels (``texture``), of the
    detector as they are (``before``) and with the outliers at the sharpness of nominal images (``after``), and of the
    detector on the same content from both sources (NaN without)."""

    texture: float
    before: float
    after: float
    same_content: float

    @property
    def warns(self) -> bool:
        both = self.texture >= TOLD and self.before - self.after >= FALL
        return self.same_content >= SAME or both  # not so for NaN

    def __str__(self) -> str:
        said = f"nominal images against exposure: AUROC {self.texture:.2f} from differences of neighbouring pixels; "
        said += f"the detector's is {self.before:.2f}, and {self.after:.2f} with the sharpness matched"
        if not np.isnan(self.same_content):
            said += f"; {self.same_content:.2f} on the same content from both sources, where .5 would be honest"
        meant = "The exposure gives itself away by how it was made: resize, blur or compress it as the nominal images. "
        return f"{said}. {meant if self.warns else ''}{UNSEEN}"


def examine(nominal, outliers, detector, *, same_content=None, seed: int = 0) -> Findings:
    """Measures whether ``outliers`` give themselves away to ``detector``, an HSC or FCDD, and warns if so.

    ``nominal`` and ``outliers``: (N, C, H, W) and (M, C, H, W) of one size. A detector that is not fitted is fitted
    here, a copy of it, to four fifths of both, and ranks the rest; of one that is, all ``outliers`` should be images
    that it has not seen. ``same_content``: a pair of (K, C, H, W), what nominal images show from their source and from
    the exposure's, for a direct answer. ``seed`` draws the parts. Raises ValueError for images of several shapes, and
    for fewer than ten of a kind.
    """
    nominal = as_images(nominal, "nominal")
    shape = {"channels": nominal.shape[1], "size": tuple(nominal.shape[2:])}
    outliers = as_images(outliers, "outliers", **shape)
    if min(len(nominal), len(outliers)) < 10:
        raise ValueError(f"expected 10 images of each kind or more, got {len(nominal)} and {len(outliers)}")
    (learnt, good), (exposed, bad) = _parts(nominal, seed), _parts(outliers, seed)
    if hasattr(detector, "network_"):
        good, bad = nominal, outliers
    else:
        detector = clone(detector).set_params(exposure=exposed).fit(learnt)
    before, after = _ranked(detector, good, bad), _ranked(detector, good, matched(bad, nominal))
    pair = None if same_content is None else [as_images(each, "same_content", **shape) for each in same_content]
    direct = np.nan if pair is None else _ranked(detector, *pair)
    found = Findings(_told_apart(learnt[:MOST], exposed[:MOST]), before, after, direct)
    if found.warns:
        warnings.warn(str(found), stacklevel=2)
    return found


def _parts(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    kept = len(images) * 4 // 5
    return images[order[:kept]], images[order[kept:]]


def _ranked(detector, nominal: Tensor, outliers: Tensor) -> float:
    scores = np.concatenate([detector.anomaly_score(nominal), detector.anomaly_score(outliers)])
    return auroc(np.arange(len(scores)) >= len(nominal), scores)


def _told_apart(nominal: Tensor, outliers: Tensor) -> float:
    """AUROC of a linear classifier of :func:`_texture` on images that it has not seen, five-fold."""
    rows, second = torch.cat([_texture(nominal), _texture(outliers)]), np.arange(len(nominal) + len(outliers))
    second = second >= len(nominal)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    return auroc(second, cross_val_predict(classifier, rows.cpu().numpy(), second, cv=5, method="decision_function"))


def _texture(images: Tensor) -> Tensor:
    """(N, 4C) by how much differences of neighbouring pixels of order 2 are larger than those of order 1, and those of
    order 4 than those of order 2, along columns and rows, as logarithms. Contrast cancels, what is shown hardly counts.
    """
    x, found = as_float(images), []
    for axis in (2, 3):
        first, second, fourth = (x.diff(n, dim=axis).square().mean((2, 3)) + 1e-6 for n in (1, 2, 4))
        found += [(second / first).log(), (fourth / second).log()]
    return torch.cat(found, 1)


def matched(images, to) -> Tensor:
    """``images`` (N, C, H, W), all blurred or sharpened alike, so that their power falls with frequency as that of the
    images ``to`` does; contrast, what lies below .1 cycles a pixel, stays. uint8."""
    images, to = as_images(images), as_images(to)
    centers = (np.arange(BINS) + 0.5) * np.sqrt(0.5) / BINS
    gain = np.sqrt(_spectrum(to[:MOST]) / _spectrum(images[:MOST]))
    return _filtered(images, np.interp(_radius(images), centers, gain / gain[centers < COARSE].mean()))


def amplified(images, gain: float, above: float = 0.2) -> Tensor:
    """``images`` (N, C, H, W) with all frequencies above ``above`` cycles a pixel times ``gain``: blurred by less than
    1, sharpened by more. uint8. Raises ValueError for a negative gain."""
    if gain < 0:
        raise ValueError(f"expected a gain of at least 0, got {gain}")
    images = as_images(images)
    return _filtered(images, np.where(_radius(images) > above, gain, 1.0))


def _radius(images: Tensor) -> np.ndarray:
    """Cycles a pixel of each coefficient of the real Fourier transform, (H, W // 2 + 1)."""
    height, width = images.shape[2:]
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))


def _filtered(images: Tensor, gain: np.ndarray) -> Tensor:
    factor, size = torch.from_numpy(gain).float().to(images.device), tuple(images.shape[2:])
    blocks = (torch.fft.irfft2(torch.fft.rfft2(as_float(block)) * factor, s=size) for block in images.split(BLOCK))
    return torch.cat([as_uint8(block.clamp(0, 1)) for block in blocks])


def _spectrum(images: Tensor) -> np.ndarray:
    """(BINS,) mean power in rings of frequencies, of all images and channels together; their means are left out."""
    power = torch.fft.rfft2(as_float(images)).abs().square().mean((0, 1)).cpu().numpy().ravel()[1:]
    ring = np.minimum((_radius(images) / np.sqrt(0.5) * BINS).astype(int), BINS - 1).ravel()[1:]
    return (np.bincount(ring, power, BINS) + 1e-9) / np.maximum(np.bincount(ring, minlength=BINS), 1)

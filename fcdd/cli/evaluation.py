"""What a detector says of pictures of which it is known whether they are good: judged, measured, shown in the report.

Taught in: the page on the library.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .. import calibration, metrics, pictures
from ..errors import all_of
from ..stream import stream


@dataclass
class Judged:
    """Pictures with their scores, heatmaps and ground truth, those that could be read."""

    files: list[Path] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    maps: list[np.ndarray] = field(default_factory=list)
    anomalous: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    masks: list[np.ndarray] | None = None  # (H, W) boolean, of the size of the maps; None if not every defect has one
    problems: dict[Path, str] = field(default_factory=dict)


def judge(detector, files: Sequence[Path], anomalous, masks=None) -> Judged:
    """Scores and maps of ``files``, of which ``anomalous`` (N,) are known to be so; ``masks`` (N, 1, H, W) or None."""
    found, places, scores = Judged(), [], []
    results = stream(detector, files, maps=True)
    for place, each in enumerate(tqdm(results, "judging", len(files), unit=" images", leave=False, disable=None)):
        if each.problem:
            found.problems[files[place]] = each.problem
        else:
            places.append(place)
            found.files.append(files[place])
            found.maps.append(each.map)
            scores.append(each.score)
    found.scores, found.anomalous = np.array(scores, float), np.asarray(anomalous, bool)[places]
    found.masks = None if masks is None else [np.asarray(masks[k])[0] for k in places]
    return found


def read_masks(layout, shape):
    """The masks of a layout's test images, (N, 1, H, W) boolean, or None. Raises DataError that lists all that is wrong
    with it."""
    problems = list(layout.problems)
    masks = layout.read_masks(shape[1:], pictures.squeeze, problems)
    if problems:
        raise all_of(problems, f"problems in {layout.root}")
    return masks


def measure(detector, judged: Judged) -> dict:
    """What there is to measure, by name: numbers of images, false alarms and missed defects at the threshold, AUROC of
    images and pixels, AUPRO (pixels at the detector's resolution), and the test for a shift of the good images."""
    good, bad = judged.scores[~judged.anomalous], judged.scores[judged.anomalous]
    threshold = -float(detector.offset_)
    result: dict = {"good": len(good), "anomalous": len(bad), "threshold": threshold}
    if len(good):
        result |= {"false_alarms": int((good > threshold).sum()), "false_alarm_rate": float((good > threshold).mean())}
    if len(bad):
        result |= {"missed": int((bad <= threshold).sum())}
    if len(good) and len(bad):
        result["auroc"] = metrics.auroc(judged.anomalous, judged.scores)
    if judged.masks is not None and any(m.any() for m in judged.masks):
        result |= {"pixel_auroc": metrics.pixel_auroc(judged.masks, judged.maps)}
        result |= {"aupro": metrics.aupro(judged.masks, judged.maps)}
    shift = shifted(detector, good)
    return result | ({} if shift is None else {"shift_p": shift.p, "shifted": bool(shift), "shift": str(shift)})


def shifted(detector, scores, labelled: bool = True) -> calibration.Shift | None:
    """The test of :func:`fcdd.calibration.shift` on ``scores`` of good images, or of any that nobody has labelled."""
    known = getattr(detector, "calibration_scores_", None)
    threshold = np.inf if labelled else -float(detector.offset_)
    return None if known is None else calibration.shift(known, scores, threshold)


def cell(detector) -> float:
    """The stride of the map before it is enlarged, in px: of FCDD's output, of the places of patches; else one."""
    detector = getattr(detector, "inner_", detector)
    field = getattr(detector, "field_", getattr(getattr(detector, "network_", None), "field", None))
    return field.stride if field else 1

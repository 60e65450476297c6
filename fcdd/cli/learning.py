"""From a folder to a fitted detector, as ``fcdd fit`` does it: layout, groups, known defects, threshold.

Taught in: the page on your own images.
"""

import csv
import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import calibration, pictures, recipes
from ..layouts import Layout, recognise
from ..tiled import Tiled
from . import evaluation


@dataclass
class Job:
    """What is to be learnt: a detector that is not fitted yet, and its images, those with known defects last."""

    layout: Layout
    detector: Any
    images: pictures.Pictures
    good: int
    masks: torch.Tensor | None = None  # (N, 1, H, W)
    test_masks: torch.Tensor | None = None
    groups: np.ndarray | None = None  # (N,)
    read: dict = field(default_factory=dict)  # how pictures are brought to one size, kept with the model
    said: list[str] = field(default_factory=list)  # what people must know before training
    skipped: list[str] = field(default_factory=list)  # why pictures and masks are not used, if they may be skipped


def prepare(
    folder, method, size, fpr, wanted, groups=None, outliers=None, masks=None, tile=None, skip_bad=False
) -> Job:
    """Looks at the folder and makes a detector for it with the parameters ``wanted``, by the recipe of ``method``."""
    layout, said, skipped = recognise(folder), [], []
    if skip_bad:
        layout, skipped = usable(layout)
    if not 0 < fpr < 1:
        raise ValueError(f"expected a rate of false alarms between 0 and 1, got --fpr {fpr}")
    own_size = bool(tile and not size and layout.good)
    images = layout.learn(min(pictures.size_of(layout.good[0])) if own_size else size)
    good, *shape = images.shape
    if calibration.rank(good, fpr) > good:
        said.append(f"{good} good images can keep no rate of {fpr:.3g}: the threshold is set for {1 / (good + 1):.2g}")
        fpr = 1 / (good + 1)
    detector = recipes.detector(method, shape, nu=fpr, **wanted)
    if tile:
        detector = Tiled(method=method, settings=wanted, tile=tile, nu=fpr, seed=detector.seed, device=detector.device)
    known = _defects(detector, outliers, masks) if outliers or masks else {}
    if skip_bad:
        unread = _unread([*known, *filter(None, known.values())])
        skipped += unread.values()
        known = {file: mask for file, mask in known.items() if not {file, mask} & unread.keys()}
    if known:
        layout, told = _without(layout, list(known))
        said.append(f"{len(known)} images with defects to learn from, {told}")
    own = grouping(groups, layout)
    if own is not None:
        said.append(f"{len(np.unique(own))} groups, each held out as a whole (--groups none: each image by itself)")
        own = np.concatenate([own, np.full(len(known), "")])
    images = replace(images, files=[*layout.good, *known])
    marked = None
    if masks:
        marked = [np.zeros(shape[1:], bool)] * good
        marked += [pictures.mask(mask, shape[1:]) for mask in known.values()]
        marked = torch.from_numpy(np.stack(marked)[:, None])
    read = {"white": images.white}
    return Job(layout, detector, images, good, marked, evaluation.read_masks(layout, shape), own, read, said, skipped)


def _defects(detector, outliers, masks) -> dict:
    """The pictures with known defects, each with its mask or None."""
    if not outliers:
        raise ValueError("expected --outliers with --masks: the images that the masks belong to")
    for asked, what in ((True, "anomalies"), (masks, "masks")):
        if asked and not getattr(detector, f"learns_from_{what}", False):
            raise ValueError(f"{type(detector).__name__} does not learn from {what}; leave them out, or --method fcdd")
    files = pictures.find(outliers).files
    if not files:
        raise FileNotFoundError(f"expected images with defects below {outliers}, found none")
    of = {file.stem.removesuffix("_mask"): file for file in pictures.find(masks).files} if masks else {}
    if masks and (missing := [file.name for file in files if file.stem not in of]):
        raise FileNotFoundError(f"expected a mask below {masks} for each image of {outliers}, none for {missing}")
    return {file: of.get(file.stem) for file in files}


def _unread(files) -> dict:
    """The files that are no picture, and why."""
    bad = {}
    for file in files:
        try:
            pictures.read(file)
        except pictures.PictureError as error:
            bad[file] = str(error)
    return bad


def usable(layout: Layout) -> tuple[Layout, list[str]]:
    """The layout without pictures that cannot be read, or whose masks cannot be used, and why each was left out."""
    bad = _unread([*layout.good, *layout.test])
    sizes = {file: pictures.size_of(file) for file in (*layout.good, *layout.test) if file not in bad}
    usual = np.median([width / height for height, width in sizes.values()]) if sizes else 1
    for file, (height, width) in sizes.items():
        if abs(np.log(width / height / usual)) > np.log(pictures.ALIKE) / 2:  # so that any two of the rest are alike
            bad[file] = f"{file}: {width}×{height} px, another aspect ratio than most"
    for file, mask, anomalous in zip(layout.test, layout.masks, layout.anomalous, strict=True):
        try:
            fits = mask is None or pictures.mask(mask).any() == anomalous
            why = "" if fits else f"{mask}: marks {'nothing' if anomalous else 'something'}, as its picture does not"
        except pictures.PictureError as error:
            why = str(error)
        why = why or next((told for told in layout.problems if mask and str(mask) in told), "")
        if any(layout.masks) and anomalous and mask is None:
            why = f"{file}: has no mask"
        bad |= {file: why} if why else {}
    kept = [k for k, file in enumerate(layout.test) if file not in bad]
    good = [file for file in layout.good if file not in bad]
    told = [*bad.values(), *(each for each in layout.problems if each not in bad.values())]
    return replace(_tested(layout, kept), good=good, problems=[]), told


def _without(layout: Layout, files) -> tuple[Layout, str]:
    """The layout with a test free of ``files``, by content, and what is said of it."""
    learnt = {hashlib.sha256(file.read_bytes()).digest() for file in files}
    kept = [k for k, file in enumerate(layout.test) if hashlib.sha256(file.read_bytes()).digest() not in learnt]
    return _tested(layout, kept), f"{len(layout.test) - len(kept)} of them test images, which are not tested"


def _tested(layout: Layout, places: list[int]) -> Layout:
    """The layout with the test images at these places alone."""
    return replace(layout, **{n: [getattr(layout, n)[k] for k in places] for n in ("test", "kinds", "masks", "names")})


def grouping(how: str | None, layout) -> np.ndarray | None:
    """The group of each good image: as the layout suggests, by folder, by a pattern in names, or by a table's column.

    Raises ValueError for a pattern that is none or that a name does not fit, and for a file that the table lacks.
    """
    if how is None or how == "none":
        return layout.groups if how is None else None
    names = [file.relative_to(layout.root) for file in layout.good]
    table, _, column = how.rpartition(":")
    if how == "folder":
        return np.array([name.parent.as_posix() for name in names])
    if table.endswith(".csv"):
        with open(table, encoding="utf-8-sig", newline="") as file:
            of = {Path(next(iter(row.values()))).name: row.get(column) for row in csv.DictReader(file)}
        found, what = [of.get(name.name) for name in names], f"has no {column!r}"
    else:
        try:
            matches = [re.search(how, name.name) for name in names]
        except re.error as error:
            expected = "expected --groups folder, none, table.csv:column or a pattern"
            raise ValueError(f"{expected}, got {how!r} ({error})") from error
        found, what = [match and match[match.re.groups and 1] for match in matches], "fits no part of the name"
    if missing := [name for name, group in zip(names, found, strict=True) if group is None]:
        raise ValueError(f"--groups {how} {what} for {len(missing)} of {len(names)} images, first {missing[0]}")
    return np.array(found)


def learn(job: Job, checkpoint: Path | None = None) -> evaluation.Judged:
    """Fits the job's detector, and judges the test images, or where there are none the good ones."""
    detector, layout, number = job.detector, job.layout, len(job.images)
    how = calibration.choose(job.good, detector.nu, None if job.groups is None else job.groups[: job.good])
    how |= {} if checkpoint is None else {"checkpoint": checkpoint}
    labels = None if number == job.good else np.repeat([0, -1], [job.good, number - job.good])
    detector.fit(job.images, labels, masks=job.masks, groups=job.groups, **how)
    detector.pictures_ = job.read | {"good": job.good, "defects": number - job.good, "folder": layout.root.name}
    if layout.test:
        return evaluation.judge(detector, layout.test, layout.anomalous, job.test_masks)
    return evaluation.judge(detector, layout.good, [False] * job.good)

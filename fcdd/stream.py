"""Scores of more pictures than fit into memory: decoded ahead in threads, judged batch by batch.

Taught in: the page on the library.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from . import pictures

BATCH = 16  # pictures that are decoded while as many others are judged


class Scored(NamedTuple):
    """One picture's result."""

    source: object  # the path, or the image's place among all
    score: float = np.nan  # higher = more anomalous; NaN if it could not be read
    verdict: int = 0  # +1 nominal, -1 anomalous, 0 if it could not be read
    map: np.ndarray | None = None  # (H, W) float32, if asked for, at the size that the detector works at
    squeezed: bool = False  # it has another aspect ratio than the pictures of ``fit``
    problem: str = ""  # why it could not be read


def stream(detector, sources: Iterable, maps: bool = False, batch_size: int = BATCH) -> Iterator[Scored]:
    """Scores paths, or images that :func:`fcdd.pictures.read` takes, in their order; two batches at most are held.

    They are brought to the detector's size as those that it learnt from. One that cannot be read costs no other its
    result: it has a ``problem`` and no score.
    """
    for some in _ahead(enumerate(sources), partial(_read, detector), batch_size):
        good = [X for _, X, _ in some if isinstance(X, torch.Tensor)]
        results: Iterator = iter(())
        if good:
            X = torch.stack(good)
            scores, heat = detector.scores_and_maps(X) if maps else (detector.anomaly_score(X), [None] * len(X))
            results = zip(scores, np.where(-scores >= detector.offset_, 1, -1), heat, strict=True)
        for source, X, squeezed in some:
            if isinstance(X, torch.Tensor):
                score, verdict, each = next(results)
                yield Scored(source, float(score), int(verdict), each, squeezed)
            else:
                yield Scored(source, problem=str(X))


def _ahead(items: Iterator, read, batch_size: int) -> Iterator[list]:
    """Lists of ``read(item)``, the next one being read in threads while one is worked on."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: list = []
        while some := list(islice(items, batch_size)):
            coming = [pool.submit(read, item) for item in some]
            if waiting:
                yield [each.result() for each in waiting]
            waiting = coming
        if waiting:
            yield [each.result() for each in waiting]


def _read(detector, item):
    """What to call a picture, its pixels (C, H, W) or the error that reading it raised, and whether it is squeezed."""
    place, source = item
    named = isinstance(source, str | os.PathLike)
    channels, *size = detector.image_shape_
    try:
        white = getattr(detector, "pictures_", {}).get("white")
        X = torch.from_numpy(np.array(pictures.pixels(source, size, channels, white=white)))
        height, width = pictures.size_of(source) if named else size
        stretch = height * size[1] / (width * size[0])
        return source if named else place, X, not 0.98 < stretch < 1.02
    except pictures.PictureError as error:
        return source if named else place, error, False

"""Pixel AUROC of 83 heatmaps of 900×900, 67 million pixels, against scikit-learn's roc_auc_score.

Each call has a process of its own, so that its memory can be told: ``python -m benchmarks.pixel_auroc ours 83 900``.
"""

import json
import sys
from pathlib import Path

import numpy as np

from .compare import Comparison, Fact, Limit, Measured, Options, in_a_process, timed


def pixels(count: int, side: int):
    """Masks and heatmaps: a square defect of a thirtieth of each image, found in part."""
    rng, edge = np.random.default_rng(0), max(1, round(side / 30**0.5))
    masks = np.zeros((count, side, side), bool)
    for mask, (row, column) in zip(masks, rng.integers(0, side - edge, (count, 2)), strict=True):
        mask[row : row + edge, column : column + edge] = True
    maps = rng.standard_normal(masks.shape, dtype=np.float32)
    maps += masks
    return masks, maps


def main(which: str, count: str, side: str) -> None:
    """Prints seconds, value and memory of one side, as JSON."""
    masks, maps = pixels(int(count), int(side))
    if which == "ours":
        from fcdd.metrics import pixel_auroc

        seconds, value = timed(lambda: pixel_auroc(masks, maps))
    elif which == "theirs":
        from sklearn.metrics import roc_auc_score

        seconds, value = timed(lambda: roc_auc_score(masks.ravel(), maps.ravel()))
    else:
        seconds, value = timed(lambda: maps.ravel().sort())
    print(json.dumps([seconds, value, most_memory()]))


def most_memory() -> float:
    """GB that this process has held at most so far."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux counts the process that started this one
        (line,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024 / 1e9
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def _in_a_process(which: str, count: int, side: int) -> Measured:
    seconds, *result = in_a_process("pixel_auroc", which, count, side)
    return Measured(seconds, result)


def comparisons(options: Options):
    count, side = (3, 40) if options.quick else (83, 900)
    yield Comparison(
        "pixel-auroc",
        f"Pixel AUROC of {count * side**2:,} pixels",
        lambda: _in_a_process("ours", count, side),
        {"roc_auc_score": lambda: _in_a_process("theirs", count, side)},
        3.0,
        lambda peaks, _: Limit(_in_a_process("sort", count, side).seconds, "one sort of all pixels"),
        _facts,
    )


def _facts(ours, theirs) -> list[Fact]:
    return [
        Fact("difference of the AUROCs", abs(ours[0] - theirs[0]), 1e-9),
        Fact("memory, GB", ours[1], 4.0),
        Fact("memory of roc_auc_score, GB", theirs[1]),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])

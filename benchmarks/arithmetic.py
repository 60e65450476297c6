"""What the arithmetic of a machine does to a run: ``python -m benchmarks.arithmetic``, five minutes on two cores.

Each deep method learns one class of Fashion-MNIST twice, by the same seed: with its network in float32, and in
bfloat16. Where a machine multiplies bfloat16 no faster, it is computed all the same, only slowly. SVDD is not here: its
solver works in float64 on every machine.
"""

import time
from functools import partial
from typing import Annotated
from unittest import mock

import numpy as np
import torch
import typer
from scipy import stats
from sklearn.base import clone
from tqdm import tqdm

import fcdd
from fcdd import metrics, training

from . import images
from .__main__ import show, write
from .compare import ROOT
from .false_alarms import DETECTORS, NORMAL
from .hardware import describe

RECORD = ROOT / "benchmarks" / "records" / "arithmetic.json"
KINDS = ("float32", "bfloat16")


def measure(learnt: int = 2000, methods=("Deep SVDD", "Deep SAD", "HSC", "FCDD")) -> dict:
    """AUROC, seconds and scores of each method in both arithmetics; the scores are compared by their ranks."""
    split = fcdd.datasets.load(images.name(), NORMAL)
    nominal = split.train.images[split.train.y >= 0][:learnt]
    found = {}
    for name in tqdm(methods, desc="methods", leave=False):
        scores, row = [], {}
        for kind in KINDS:
            network = partial(torch.autocast, dtype=torch.bfloat16, enabled=kind == "bfloat16")
            with mock.patch.object(training, "mixed_precision", lambda device, how=network: how(device.type)):
                start = time.perf_counter()
                detector = clone(DETECTORS[name]).set_params(seed=0, device="cpu").fit(nominal)
                row[kind] = {"seconds": time.perf_counter() - start}
                scores.append(detector.anomaly_score(split.test.images))
            row[kind]["auroc"] = metrics.auroc(split.test.anomalous, scores[-1])
        row["rank correlation"] = float(stats.spearmanr(*scores).statistic)
        row["equal"] = bool(np.array_equal(*scores))
        found[name] = row
    return {"data": images.name(), "normal": NORMAL, "learnt": len(nominal), "epochs": 10, "methods": found}


def rows(result: dict) -> list[list[str]]:
    """One row a method: AUROC in both, their difference, and how alike the scores rank the test images."""
    table = []
    for name, row in result["methods"].items():
        aurocs = [row[kind]["auroc"] for kind in KINDS]
        difference = f"{aurocs[1] - aurocs[0]:+.4f}"
        table.append([name, *(f"{value:.4f}" for value in aurocs), difference, f"{row['rank correlation']:.3f}"])
    return table


def headings(result: dict) -> list[str]:
    return ["method", *(f"AUROC in {kind}" for kind in KINDS), "difference", "rank correlation"]


def words(result: dict) -> str:
    """The sentences above the table."""
    return (
        f"One run a method on {result['data']}, nominal {result['normal']}: {result['learnt']:,} images, "
        f"{result['epochs']} epochs, the same seed in both columns. Only the arithmetic of the network differs. "
        "Made by `python -m benchmarks.arithmetic --record`."
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="tiny sizes, to see that it runs")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints the AUROC of each deep method in float32 and in bfloat16."""
    result = measure(*((64, ("Deep SVDD",)) if quick else ())) | {"hardware": describe("cpu")}
    show(headings(result), rows(result), "the same run in two arithmetics")
    if record:
        write(result, RECORD)


if __name__ == "__main__":
    typer.run(main)

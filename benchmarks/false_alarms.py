"""How many new good images are called anomalous: ``python -m benchmarks.false_alarms``, five minutes on two cores.

Each of the five methods learns one class of Fashion-MNIST, 20 times with other images and another seed. The threshold
comes from its training images, as ``fit`` sets it, and then from 500 images held out, by ``calibrate``; both are
judged on 1,000 new good ones. Deep SAD also learns from 50 labelled anomalies, one kind of them.
"""

from typing import Annotated

import numpy as np
import torch
import typer
from scipy import stats
from sklearn.base import clone
from tqdm import tqdm

import fcdd
from fcdd.calibration import rank

from . import images
from .__main__ import show, write
from .compare import ROOT
from .hardware import describe

RATE, LEVEL, NORMAL, KNOWN = 0.05, 0.9, "T-shirt/top", "Trouser"
RECORD = ROOT / "benchmarks" / "records" / "false-alarms.json"
DEEP = {"epochs": 10, "nu": RATE}
DETECTORS = {
    "SVDD": fcdd.SVDD(nu=RATE),
    "Deep SVDD": fcdd.DeepSVDD(**DEEP),
    "Deep SAD": fcdd.DeepSAD(**DEEP),
    "HSC": fcdd.HSC(network="hsc_cnn28", **DEEP),
    "FCDD": fcdd.FCDD(network="fcdd_cnn28", **DEEP),
}


def interval(calibrated: int, new: int) -> tuple[int, int]:
    """In which the number of false alarms among ``new`` images lies with probability ``LEVEL``: beta-binomial."""
    k = rank(calibrated, RATE)
    law = stats.betabinom(new, calibrated + 1 - k, k)
    return int(law.ppf((1 - LEVEL) / 2)), int(law.ppf((1 + LEVEL) / 2))


def measure(splits: int = 20, learnt: int = 1000, calibrated: int = 500, new: int = 1000) -> dict:
    """False alarms of each method and split, with both thresholds."""
    split = fcdd.datasets.load(images.name(), NORMAL)
    good = torch.cat([split.train.images, split.test.images[~split.test.anomalous]])
    known = split.test.images[split.test.names == KNOWN][:50]
    found = {name: {"training images": [], "calibrated": []} for name in DETECTORS}
    for seed in tqdm(range(splits), desc="splits", leave=False):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(good)))
        parts = [good[part] for part in order[: learnt + calibrated + new].split([learnt, calibrated, new])]
        for name, detector in DETECTORS.items():
            X, y = parts[0], torch.zeros(learnt)
            if name == "Deep SAD":
                X, y = torch.cat([X, known]), torch.cat([y, torch.full((len(known),), -1.0)])
            fitted = clone(detector).set_params(seed=seed).fit(X, y)
            found[name]["training images"].append(int((fitted.predict(parts[2]) < 0).sum()))
            fitted.calibrate(parts[1], fpr=RATE)
            found[name]["calibrated"].append(int((fitted.predict(parts[2]) < 0).sum()))
    sizes = {"learnt": learnt, "calibrated": calibrated, "new": new, "rate": RATE, "level": LEVEL}
    return sizes | {"data": images.name(), "normal": NORMAL, "interval": interval(calibrated, new), "methods": found}


def rows(result: dict) -> list[list[str]]:
    """One row a method: mean and range of the rate with both thresholds, and how many lie in the interval."""
    low, high = result["interval"]
    table = []
    for name, counts in result["methods"].items():
        row = [name]
        for kind in ("training images", "calibrated"):
            rates = np.array(counts[kind]) / result["new"]
            row.append(f"{rates.mean():.3f} ({rates.min():.3f}–{rates.max():.3f})")
        inside = sum(low <= count <= high for count in counts["calibrated"])
        table.append([*row, f"{inside} of {len(counts['calibrated'])}"])
    return table


def headings(result: dict) -> list[str]:
    low, high = (end / result["new"] for end in result["interval"])
    return ["method", "threshold from training images", "calibrated", f"inside {low:.3f}–{high:.3f}"]


def words(result: dict) -> str:
    """The sentences above the table."""
    return (
        f"Measured on {result['data']}, nominal {result['normal']}: {result['learnt']:,} images learnt from, "
        f"{result['calibrated']:,} held out, {result['new']:,} new good ones, at a target of {result['rate']:.0%}. "
        "Mean rate and its range over splits of the images; the last column counts those whose rate lies where "
        f"{result['level']:.0%} of calibrations put it. Made by `python -m benchmarks.false_alarms --record`."
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="tiny sizes, to see that it runs")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints the share of new good images that each method calls anomalous, at a target of 5 %."""
    result = measure(*((2, 60, 40, 40) if quick else ())) | {"hardware": describe("cpu")}
    show(headings(result), rows(result), f"false alarms at a target of {RATE:.0%}: mean (range) over the splits")
    if record:
        write(result, RECORD)


if __name__ == "__main__":
    typer.run(main)

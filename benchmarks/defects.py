"""Real defects found by the default detectors: ``python -m benchmarks.defects``, about an hour on two cores.

``fcdd.FCDD()`` and ``fcdd.PatchNeighbours()``, both without an argument but the seed, on bottle and screw of MVTec-AD
(256 px; screw also at 384, and with turned copies of its images to learn from) and on eight paper types of PIPED
(128 px, enlarged to 256; only defects of sheets that no training image is from). Then false alarms: the good images of
each set, pooled and split at random, learnt from and calibrated on in one part, as ``fit`` does it, and judged in the
other. Beside that the official split, where images to learn from and images to judge may be of other days or sheets:
what the test for such a shift says of it.
"""

import json
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
import typer
from tqdm import tqdm

import fcdd
from fcdd import calibration, metrics, mobilenet

from .__main__ import show, write
from .compare import ROOT
from .hardware import describe

RECORD = ROOT / "benchmarks" / "records" / "defects.json"
RATE = 0.05
PAPERS = ("bdp01_tl", "bft01_tl", "brg01_rl", "brg03_tl", "flr01_tl", "fvn02_rl", "gla01_tl", "zpb01_rl")
TURNED = "screw, and turned copies"  # each good image by 0, 90, 180 and 270°, as screws lie in every direction
SETS = {  # name → data set, nominal class, side in px
    "bottle": ("mvtec", "bottle", 256),
    "screw": ("mvtec", "screw", 256),
    "screw, 384 px": ("mvtec", "screw", 384),
    TURNED: ("mvtec", "screw", 256),
    **{paper: ("piped", paper, 256) for paper in PAPERS},
}
DETECTORS = {"FCDD()": fcdd.FCDD, "PatchNeighbours()": fcdd.PatchNeighbours}


def quality(split, make, seed: int) -> dict:
    """Pixel AUROC, AUPRO and image AUROC of one detector."""
    test, detector = split.test, make(seed=seed).fit(split.train.images, held_out=0)
    maps = detector.anomaly_map(test.images)
    return {
        "pixel": metrics.pixel_auroc(test.masks, maps),
        "aupro": metrics.aupro(test.masks, maps),
        "image": metrics.auroc(test.anomalous, detector.anomaly_score(test.images)),
    }


def false_alarms(split, make, seed: int) -> float:
    """The share of good images above the threshold: two thirds of all are learnt from and calibrated on, drawn by
    ``seed``, the others are new."""
    good = torch.cat([split.train.images, split.test.images[~torch.from_numpy(split.test.anomalous)]])
    learnt, new = torch.from_numpy(np.random.default_rng(seed).permutation(len(good))).split(
        [round(2 / 3 * len(good)), len(good) - round(2 / 3 * len(good))]
    )
    detector = make(seed=seed, nu=RATE)
    detector.fit(good[learnt], **calibration.choose(len(learnt), RATE))
    return float((detector.predict(good[new]) < 0).mean())


def official(split, make, groups=None) -> dict:
    """The share of false alarms among the good test images, and whether they look changed (None: too few to tell).
    ``groups`` (n,) of training images are held out whole."""
    detector = make(seed=0, nu=RATE)
    how = calibration.choose(len(split.train), RATE, groups)
    detector.fit(split.train.images, groups=groups, **how)
    scores = detector.anomaly_score(split.test.images[~torch.from_numpy(split.test.anomalous)])
    shift = calibration.shift(detector.calibration_scores_, scores)
    return {"rate": float((scores > -detector.offset_).mean()), "shift": None if shift is None else bool(shift)}


class Remembered:
    """While it lasts, the backbone computes the features of each image once, as all splits of one set share them."""

    def __enter__(self):
        self.forward, known = mobilenet.Joined.forward, {}

        def forward(network, x):
            keys = [image.numpy().tobytes() for image in x]
            if missing := [k for k, key in enumerate(keys) if key not in known]:
                found = self.forward(network, x[missing])
                known.update({keys[k]: features for k, features in zip(missing, found, strict=True)})
            return torch.stack([known[key] for key in keys]).contiguous(memory_format=torch.channels_last)

        mobilenet.Joined.forward = forward

    def __exit__(self, *_):
        mobilenet.Joined.forward = self.forward


def measure(sets, seeds: int = 3, splits: int = 20) -> dict:
    """Everything, set by set."""
    found: dict = {}
    with tqdm(total=len(sets) * len(DETECTORS) * (seeds + splits), leave=False) as bar:
        for name, (dataset, normal, side) in sets.items():
            split, groups = fcdd.datasets.load(dataset, normal, size=(side, side)), None
            if name == TURNED:
                groups = np.tile(np.arange(len(split.train)), 4)
                good = split.train.take(groups)
                turned = torch.cat([split.train.images.rot90(k, (2, 3)) for k in range(4)])
                split = replace(split, train=replace(good, images=turned))
            counts = {"good": len(split.train), "test": len(split.test), "defects": int(split.test.anomalous.sum())}
            found[name] = counts | {"side": side, "detectors": {}}
            for title, make in DETECTORS.items():
                bar.set_description(f"{name}, {title}")
                runs, rates = [], []
                with Remembered():
                    for seed in range(seeds):
                        runs.append(quality(split, make, seed))
                        bar.update()
                    for seed in range(splits if side == 256 and groups is None else 0):
                        rates.append(false_alarms(split, make, seed))
                        bar.update()
                    usual = official(split, make, groups)
                found[name]["detectors"][title] = {"runs": runs, "false alarms": rates, "official": usual}
    return {"sets": found, "rate": RATE, "seeds": seeds, "splits": splits}


def mean(entry: dict, what: str) -> float:
    """A figure of one detector on one set, over seeds or splits."""
    values = entry["false alarms"] if what == "false alarms" else [run[what] for run in entry["runs"]]
    return float(np.mean(values)) if values else float("nan")


def rows(result: dict) -> list[list[str]]:
    """One row a set and detector, in the order of :data:`SETS`, then the means over the eight papers."""
    table, papers = [], [name for name in result["sets"] if name in PAPERS]
    for name, entry in sorted(result["sets"].items(), key=lambda each: list(SETS).index(each[0])):
        for title, found in entry["detectors"].items():
            rates = found["false alarms"]
            alarms = f"{np.mean(rates):.1%} ({min(rates):.1%}–{max(rates):.1%})" if rates else "–"
            table.append([name, title, *(f"{mean(found, what):.3f}" for what in ("pixel", "aupro", "image"))])
            word = {None: "too few to tell", True: "changed", False: "no change found"}[found["official"]["shift"]]
            table[-1] += [alarms, f"{found['official']['rate']:.1%} ({word})"]
    for title in DETECTORS if papers else ():
        entries = [result["sets"][name]["detectors"][title] for name in papers]
        means = [np.mean([mean(e, what) for e in entries]) for what in ("pixel", "aupro", "image")]
        alarms = f"{np.mean([mean(e, 'false alarms') for e in entries]):.1%}"
        table.append([f"mean of {len(papers)} papers", title, *(f"{m:.3f}" for m in means), alarms, ""])
    return table


def headings(result: dict) -> list[str]:
    alarms = f"false alarms at {result['rate']:.0%}, mean (range) of {result['splits']} splits"
    return ["set", "detector", "pixel AUROC", "AUPRO", "image AUROC", alarms, "official split (good images)"]


def words(result: dict) -> str:
    """The sentences above the table."""
    return (
        f"Means over {result['seeds']} seeds; of false alarms over {result['splits']} random splits of good images. "
        "The defaults were chosen on good images with drawn defects. Made by "
        "`python -m benchmarks.defects --record`."
    )


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"some of these, beside those that a record made in the same way holds: {', '.join(SETS)}"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="how often each detector is fitted")] = 3,
    splits: Annotated[int, typer.Option(min=0, help="random splits for false alarms")] = 20,
    quick: Annotated[bool, typer.Option("--quick", help="a paper of the package, once, to see that it runs")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints how well the defaults find real defects, and how often they are wrong about good images."""
    if unknown := sorted(set(only or ()) - SETS.keys()):
        raise typer.BadParameter(f"expected some of {', '.join(SETS)}, got {', '.join(unknown)}", param_hint="--only")
    sets, times = {name: SETS[name] for name in only or SETS}, (seeds, splits)
    if quick:
        sets, times = {"gla01_tl": ("piped-small", "gla01_tl", 128)}, (1, 0)
    result = kept(*times) if record and only else {"sets": {}}
    for name, entry in sets.items():  # an hour: what is measured is kept at once
        found = measure({name: entry}, *times)
        result = found | {"sets": result["sets"] | found["sets"], "hardware": describe("cpu")}
        if record:
            write(result, RECORD)
    show(headings(result), rows(result), "real defects, detectors without arguments", width=160)


def kept(seeds: int, splits: int) -> dict:
    """The record of some sets, if it was made in the same way; nothing otherwise."""
    result = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return result if (result.get("seeds"), result.get("splits")) == (seeds, splits) else {"sets": {}}


if __name__ == "__main__":
    typer.run(main)

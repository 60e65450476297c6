"""How many good images are enough, and what a few defects with masks add: ``python -m benchmarks.how_many``.

The default detector of ``fcdd fit`` learns from 5 to 100 good images of two paper types of PIPED and of MVTec-AD's
bottle, three times each with other images, with the threshold that the command would set; it is judged on the test
images, of PIPED on sheets that it has not seen. Then defects with masks, from sheets that are not tested, are learnt
from as well. About three hours of a core; what is recorded is kept at once, and continued where it stopped.
"""

import json
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import torch
import typer
from tqdm import tqdm

import fcdd
from fcdd import calibration, metrics, recipes

from .__main__ import show, write
from .compare import ROOT
from .hardware import describe

FPR, SEEDS = 0.05, 3
COUNTS, DEFECTS = (5, 10, 20, 50, 100), (3, 8)
SETS = {"flr01": ("piped", "flr01_tl"), "zpb01": ("piped", "zpb01_rl"), "bottle": ("mvtec", "bottle")}
RECORD = ROOT / "benchmarks" / "records" / "how-many.json"
load = partial(fcdd.datasets.load, size=(256, 256))


def fitted(good, seed: int, defects=None, masks=None):
    """The default detector on good images, calibrated as ``fcdd fit`` does it; and with ``defects`` (n, C, H, W)."""
    number = len(good)
    nu = max(FPR, 1 / (number + 1))
    detector = recipes.detector("fcdd", tuple(good.shape[1:]), nu=nu, seed=seed)
    how = calibration.choose(number, nu)
    if defects is None:
        return detector.fit(good, verbose=False, **how)
    marked = torch.cat([torch.zeros(number, 1, *good.shape[2:], dtype=torch.bool), masks])
    labels = np.repeat([0, -1], [number, len(defects)])
    return detector.fit(torch.cat([good, defects]), labels, masks=marked, verbose=False, **how)


def judged(detector, test) -> dict:
    """AUROC of images and pixels, and the shares of good images called anomalous and of defects that are missed."""
    scores, maps = detector.scores_and_maps(test.images)
    alarm = scores > -detector.offset_
    rates = {"false_alarms": alarm[~test.anomalous].mean(), "missed": (~alarm[test.anomalous]).mean()}
    rates |= {"auroc": metrics.auroc(test.anomalous, scores), "pixel_auroc": metrics.pixel_auroc(test.masks, maps)}
    return {name: float(value) for name, value in rates.items()}


def measure(counts=COUNTS, defects=DEFECTS, seeds: int = SEEDS, sets=tuple(SETS), done=()) -> Iterator[dict]:
    """A row for each set, number of good images or of defects, and seed, but for those that are ``done``."""
    kept = {_key(row) for row in done}
    for name in tqdm(sets, desc="sets", leave=False):
        split = load(*SETS[name])
        good, known = split.train.images, _others(name, split) if name != "bottle" else None
        numbers = [n for n in counts if n < len(good)] + ([len(good)] if len(good) < max(counts) else [])
        jobs = [(n, 0) for n in numbers] + [(len(good), k) for k in defects if known is not None]
        every = [(name, number, marked, seed) for seed in range(seeds) for number, marked in jobs]
        for _, number, marked, seed in tqdm([job for job in every if job not in kept], desc=name, leave=False):
            rng = np.random.default_rng(seed)
            chosen, start = good[np.sort(rng.permutation(len(good))[:number])], time.process_time()
            some = known.take(rng.permutation(len(known))[:marked]) if marked else None
            detector = fitted(chosen, seed, *((some.images, some.masks) if some else ()))
            seconds = time.process_time() - start
            row = {"set": name, "good": number, "defects": marked, "seed": seed, "seconds": seconds}
            yield row | judged(detector, split.test)


def _key(row: dict) -> tuple:
    return row["set"], row["good"], row["defects"], row["seed"]


def _others(name: str, split):
    """Defects from the sheets that are not tested."""
    whole = load(*SETS[name], strict=False).test
    return whole.take(np.flatnonzero(whole.anomalous & ~np.isin(whole.names, split.test.names)))


def headings(result: dict) -> list[str]:
    return [
        "set",
        "good images",
        "defects shown",
        "AUROC of images",
        "of pixels",
        "false alarms",
        "missed",
        "seconds of a core",
    ]


def rows(result: dict, masks: bool = False) -> list[list[str]]:
    """Means and ranges over seeds; without ``masks`` by the number of good images, with them by that of defects."""
    runs, found = result["rows"], []
    for key in dict.fromkeys((run["set"], run["good"], run["defects"]) for run in runs):
        group = [run for run in runs if (run["set"], run["good"], run["defects"]) == key]
        same = [run for run in runs if run["set"] == key[0]]
        if masks and (key[1] < max(run["good"] for run in same) or not any(run["defects"] for run in same)):
            continue
        if not masks and key[2]:
            continue
        shown = [_range([run[of] for run in group], 3) for of in ("auroc", "pixel_auroc")]
        shown += [f"{100 * np.mean([run[of] for run in group]):.0f} %" for of in ("false_alarms", "missed")]
        found.append([key[0], str(key[1]), str(key[2]), *shown, f"{np.mean([run['seconds'] for run in group]):.0f}"])
    return found


def words(result: dict) -> str:
    """How it was measured."""
    return (
        f"Mean and range over {result['seeds']} choices of images, the threshold set for {result['fpr']:.0%} or the "
        "smallest rate that so few can keep. Made by `python -m benchmarks.how_many --record`"
        + ("." if result["complete"] else ", which was stopped: some rows are missing.")
    )


with_masks = SimpleNamespace(
    RECORD=RECORD, words=words, headings=headings, rows=partial(rows, masks=True), __name__=__name__
)


def _range(values, digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="two numbers, one seed, one set, to see that it runs")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints how good the default detector is with 5 to 100 good images, and with defects that it is shown."""
    if quick and record:
        raise typer.BadParameter("a record is of all sets and numbers; leave out --quick")
    result = {"fpr": FPR, "seeds": 1 if quick else SEEDS, "hardware": describe("cpu"), "complete": False, "rows": []}
    if record and RECORD.exists() and not (begun := json.loads(RECORD.read_text(encoding="utf-8")))["complete"]:
        result["rows"] = begun["rows"]
    work = measure((5, 10), (3,), 1, ("zpb01",)) if quick else measure(done=result["rows"])
    for row in work:
        result["rows"].append(row)
        if record:
            write(result, RECORD)
    for masks, title in ((False, "good images"), (True, "defects with masks besides all good images")):
        show(headings(result), rows(result, masks), f"{title}: mean (range) over {result['seeds']} choices", width=120)
    if record:
        write(result | {"complete": True}, RECORD)


if __name__ == "__main__":
    typer.run(main)

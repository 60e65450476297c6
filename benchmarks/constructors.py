"""Detectors as they come, without arguments: ``python -m benchmarks.constructors``, some ten minutes on two cores.

Each learns the 6,000 training images of one class of Fashion-MNIST and ranks all 10,000 test images. The defaults were
chosen on the classes in ``CHOSEN``, and are judged here on three others. Beside them stands PyOD's Deep SVDD, on
flattened images, if it is installed.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

import fcdd
from fcdd import metrics

from .__main__ import show, write
from .compare import ROOT
from .hardware import describe

RECORD = ROOT / "benchmarks" / "records" / "constructors.json"
DATA, CHOSEN, JUDGED = "fashion-mnist", ("Pullover", "Sandal", "Bag"), ("T-shirt/top", "Dress", "Ankle boot")


def flat(split) -> list[np.ndarray]:
    """Training and test images as rows of numbers in [0, 1]."""
    return [part.images.flatten(1).numpy() / 255 for part in (split.train, split.test)]


def ours(make: type) -> Callable:
    """Scores of the test images by a detector without arguments, learnt from the training images."""

    def scores(split) -> np.ndarray:
        train, test = flat(split) if make is fcdd.SVDD else (split.train.images, split.test.images)
        return make().fit(train).anomaly_score(test)

    return scores


def pyod(split) -> np.ndarray:
    """The same by PyOD, with its defaults; it asks for the number of features."""
    from pyod.models.deep_svdd import DeepSVDD

    train, test = flat(split)
    return DeepSVDD(n_features=train.shape[1], random_state=0, verbose=0).fit(train).decision_function(test)


OURS = {"SVDD()": fcdd.SVDD, "DeepSVDD()": fcdd.DeepSVDD, "DeepSAD()": fcdd.DeepSAD, "HSC()": fcdd.HSC}
OURS["FCDD()"] = fcdd.FCDD
DETECTORS = {name: ours(make) for name, make in OURS.items()} | {"PyOD's DeepSVDD": pyod}


def measure(classes=JUDGED, data: str = DATA) -> dict:
    """AUROC and seconds, from images to scores, of each detector on each class."""
    known = [name for name in DETECTORS if name in OURS or importlib.util.find_spec("pyod")]
    found: dict = {name: [] for name in known}
    with tqdm(total=len(known) * len(classes), leave=False) as bar:
        for normal in classes:
            split = fcdd.datasets.load(data, normal)
            for name in known:
                bar.set_description(f"{normal}, {name}")
                start = time.perf_counter()
                scores = DETECTORS[name](split)
                seconds = time.perf_counter() - start
                found[name].append({"auroc": float(metrics.auroc(split.test.anomalous, scores)), "seconds": seconds})
                bar.update()
    return {"data": data, "classes": list(classes), "chosen": list(CHOSEN), "detectors": found}


def headings(result: dict) -> list[str]:
    return ["detector", *result["classes"], "mean AUROC", "seconds each"]


def rows(result: dict) -> list[list[str]]:
    """A row a detector: AUROC of each class, their mean, mean seconds."""
    table = []
    for name, runs in result["detectors"].items():
        aurocs = [run["auroc"] for run in runs]
        seconds = np.mean([run["seconds"] for run in runs])
        table.append([name, *(f"{each:.3f}" for each in aurocs), f"{np.mean(aurocs):.3f}", f"{seconds:.1f}"])
    return table


def words(result: dict) -> str:
    """The sentences above the table."""
    return (
        f"AUROC on {result['data']}, one run each, from images to scores. The defaults were chosen on "
        f"{', '.join(result['chosen'])}; the classes here had no part in that. Made by "
        "`python -m benchmarks.constructors --record`."
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="the embedded subset, one class, to see that it runs")] = False,
    chosen: Annotated[bool, typer.Option("--chosen", help="on the classes that the defaults were chosen on")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints how well each detector ranks without a single argument, and how long that takes."""
    if record and chosen:
        raise typer.BadParameter("a record is of the judged classes; leave out --chosen")
    how = (JUDGED[:1], "fashion-mnist-small") if quick else (CHOSEN if chosen else JUDGED,)
    result = measure(*how) | {"hardware": describe("cpu")}
    show(headings(result), rows(result), "detectors without arguments")
    if record:
        write(result, RECORD)


if __name__ == "__main__":
    typer.run(main)

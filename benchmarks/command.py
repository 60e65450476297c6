"""The command line by the clock, start-up included: ``python -m benchmarks.command``, two minutes on two cores.

``fcdd fit`` on the 209 good images of MVTec-AD's bottle, up to the report; ``fcdd score --heatmaps`` on its 83 test
images, PNG in, PNG out; and how many images a second ``score_iter`` judges with their heatmaps once it runs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

import fcdd
from fcdd.datasets.mvtec import find_category

from .__main__ import show, write
from .compare import ROOT
from .hardware import describe

RECORD = ROOT / "benchmarks" / "records" / "command.json"
TITLES = {
    "fit": "fcdd fit, from shell to report",
    "score": "fcdd score with heatmaps, from shell to the last file",
}


def clocked(folder: Path, *words: str, **environment: str) -> tuple[subprocess.CompletedProcess, float]:
    """What ``fcdd`` with these words said in ``folder``, and its seconds. Raises RuntimeError if it fails."""
    start, call = time.perf_counter(), [sys.executable, "-m", "fcdd", *words]
    told = subprocess.run(call, cwd=folder, capture_output=True, text=True, env=os.environ | environment, check=False)
    if told.returncode:
        raise RuntimeError(f"fcdd {' '.join(words)}: exit code {told.returncode}\n{told.stderr}")
    return told, time.perf_counter() - start


def measure(normal: str = "bottle", repeat: int = 4, options: tuple = ()) -> dict:
    """Seconds of both commands, and images a second."""
    data = find_category(normal)
    if data is None:
        raise FileNotFoundError(f"expected MVTec-AD's {normal} where data lies, found none; set FCDD_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict = {
            "set": normal,
            "fit": clocked(folder, "fit", str(data), "--model", "m.safetensors", *options)[1],
        }
        test = sorted((data / "test").rglob("*.png"))
        heatmaps = ("score", str(data / "test"), "--model", "m.safetensors", "--heatmaps", "heatmaps")
        result["score"] = clocked(folder, *heatmaps)[1]
        written = len(list((folder / "heatmaps").rglob("*.png")))
        detector = fcdd.load(folder / "m.safetensors")
    start = time.perf_counter()
    judged = sum(each.map is not None for each in detector.score_iter(test * repeat, maps=True))
    result["steady"] = judged / (time.perf_counter() - start)
    return result | {"good": len(list((data / "train").rglob("*.png"))), "test": len(test), "heatmaps": written}


def headings(result: dict) -> list[str]:
    return ["what", "images", "measured"]


def rows(result: dict) -> list[list[str]]:
    """A row a command, then the steady state."""
    counts = {"fit": result["good"], "score": result["test"]}
    table = [[title, str(counts[key]), f"{result[key]:.1f} s"] for key, title in TITLES.items()]
    return [*table, ["score_iter with heatmaps, once it runs", str(result["test"]), f"{result['steady']:.0f} images/s"]]


def words(result: dict) -> str:
    """The sentence above the table."""
    return f"{result['set']} of MVTec-AD at 256 px, two cores. Made by `python -m benchmarks.command --record`."


def main(
    quick: Annotated[bool, typer.Option("--quick", help="one epoch, to see that it runs")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
) -> None:
    """Prints how long the commands take, start-up included."""
    result = measure(options=("--epochs", "1") if quick else ()) | {"hardware": describe("cpu")}
    show(headings(result), rows(result), "the command line by the clock")
    if record:
        write(result, RECORD)


if __name__ == "__main__":
    typer.run(main)

"""Runs the comparisons and shows them: ``make bench``, or ``python -m benchmarks --help``."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from fcdd.files import whole
from fcdd.memory import keep_freed
from fcdd.training import pick_device

from . import epoch, memory, one_class_svm, pixel_auroc, report, stacked, upsampling
from .compare import ROOT, Options, calls, measure
from .hardware import describe, peaks

PARTS = {
    "epoch": epoch,
    "stacked": stacked,
    "memory": memory,
    "one-class-svm": one_class_svm,
    "pixel-auroc": pixel_auroc,
    "upsampling": upsampling,
}


def main(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    repetitions: Annotated[int, typer.Option(min=1, help="how often each side is run")] = 3,
    only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(PARTS)}")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="tiny sizes, to see that all runs; the times mean nothing")
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="also what takes many minutes without us")] = False,
    record: Annotated[bool, typer.Option("--record", help="keep the result in benchmarks/records")] = False,
    folder: Annotated[Path, typer.Option(help="where the result goes")] = ROOT / "_build",
) -> None:
    """Ours against what one would write or pick without it, in turn, several times: medians and their ratios."""
    if unknown := sorted(set(only or ()) - PARTS.keys()):
        raise typer.BadParameter(f"expected some of {', '.join(PARTS)}, got {', '.join(unknown)}", param_hint="--only")
    if record and (quick or only):
        raise typer.BadParameter("a record is of all comparisons at full size; leave out --quick and --only")
    keep_freed()  # as the command line of the library does; the plain loop of an epoch has a process without it
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    options = Options(pick_device(device).type, quick, long)
    result = run(options, repetitions, only or list(PARTS))
    write(result, folder / "benchmarks.json")
    report.figure(result).savefig(folder / "benchmarks.png")
    console = Console()
    for table in report.tables(result):
        console.print(table)
    console.print(f"in full: {folder / 'benchmarks.json'}; drawn: {folder / 'benchmarks.png'}", markup=False)
    if record:
        write(result, ROOT / "benchmarks" / "records" / f"{options.device}.json")


def run(options: Options, repetitions: int, parts: list[str]) -> dict:
    """The machine, what it can do at its best, and all comparisons, one after another."""
    result = {"device": options.device, "quick": options.quick, "repetitions": repetitions}
    result |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "hardware": describe(options.device)}
    result |= {"peaks": peaks(options.device, options.quick), "comparisons": []}
    comparisons = [comparison for name in parts for comparison in PARTS[name].comparisons(options)]
    with tqdm(total=sum(calls(each, repetitions) for each in comparisons), leave=False) as bar:
        for comparison in comparisons:
            bar.set_description(comparison.name)
            result["comparisons"].append(measure(comparison, repetitions, result["peaks"], bar.update))
    return result


def write(result: dict, path: Path) -> None:
    """Writes a file whole or not at all."""
    with whole(path) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def show(headings: list[str], rows: list[list[str]], title: str, width: int | None = None) -> None:
    """Prints a table."""
    table = Table(*headings, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=width).print(table)


if __name__ == "__main__":
    typer.run(main)

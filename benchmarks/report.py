"""The comparisons as tables and as a picture, from the result of a run."""

import json
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from rich.table import Table

from fcdd.figures import ANOMALOUS, NOMINAL

RECORDS = Path(__file__).parent / "records"


def read(device: str, folder: Path = RECORDS) -> dict:
    """The committed result of a device. Raises FileNotFoundError that says how to make it."""
    path = folder / f"{device}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"No benchmarks are recorded for {device}; make them with: make bench DEVICE={device} RECORD=1"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def seconds(value: float) -> str:
    """A time with three digits, in the unit that suits it."""
    for unit, factor in (("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if value >= (2 * factor if factor > 1 else factor):
            return f"{value / factor:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def rows(result: dict) -> list[list[str]]:
    """One row a comparison, under :data:`HEADINGS`."""
    found = []
    for each in result["comparisons"]:
        row = [each["what"], seconds(median(each["ours"])), "–", "–", "–", "–"]
        if "peer" in each:
            theirs = median(each["peers"][each["peer"]])
            row[2:4] = [f"{seconds(theirs)} ({each['peer']})", f"{each['ratio']:.3g}×"]
            row[4] = "–" if each["goal"] is None else f"{each['goal']:g}×, {verdict(reached(each))}"
        if "limit" in each:
            row[5] = f"{100 * each['limit']['share']:.2g} % ({each['limit']['what']})"
        found.append(row)
    return found


HEADINGS = ("What", "Ours", "Without", "Ratio", "Wanted", "Share of the limit")


def facts(result: dict) -> list[list[str]]:
    """One row a number beside the times, under :data:`FACTS`."""
    return [
        [each["what"], fact["what"], f"{fact['value']:.3g}"]
        + ["–" if fact["most"] is None else f"{fact['most']:g}, {verdict(fact['value'] <= fact['most'])}"]
        for each in result["comparisons"]
        for fact in each.get("facts", ())
    ]


FACTS = ("What", "Beside the time", "Found", "At most")


def reached(each: dict) -> bool:
    """Whether ours is as many times faster as promised; "not slower", 1×, also holds where repetitions overlap."""
    overlap = min(each["ours"]) <= max(each["peers"][each["peer"]])
    return each["ratio"] >= each["goal"] or (each["goal"] == 1 and overlap)


def verdict(good: bool) -> str:
    return "reached" if good else "missed"


def machine(result: dict) -> str:
    """The machine, its peaks and the conditions in one sentence."""
    hardware = result["hardware"]
    peaks = ", ".join(f"{value / 1e9:,.0f} GFLOP/s in {name}" for name, value in result["peaks"].items())
    versions = ", ".join(f"{name} {number}" for name, number in hardware["versions"].items())
    return (
        f"{hardware.get('gpu', hardware['processor'])}, {hardware['cores']} cores, {hardware['threads']} threads, "
        f"{hardware['memory_gb']} GB; matrix products reach {peaks}; {versions}; {result['date'][:10]}; "
        f"load {hardware['load']:g} at the start; medians of up to {result['repetitions']} repetitions"
    )


def tables(result: dict):
    """The tables for the terminal."""
    for title, headings, lines in ((machine(result), HEADINGS, rows(result)), (None, FACTS, facts(result))):
        table = Table(*headings, title=title, title_justify="left")
        for line in lines:
            table.add_row(*line)
        yield table


def figure(result: dict):
    """How many times faster ours is, one bar a comparison, on a logarithmic axis, with what was wanted."""
    compared = [each for each in result["comparisons"] if "ratio" in each][::-1]
    drawn, axes = plt.subplots(figsize=(8, 0.8 + 0.42 * len(compared)), layout="constrained")
    ratios = [each["ratio"] for each in compared]
    axes.barh([each["what"] for each in compared], [ratio - 1 for ratio in ratios], left=1, color=NOMINAL)
    for place, ratio in enumerate(ratios):
        axes.text(1.1 * max(ratio, 1), place, f"{ratio:.3g}×", va="center")
    wanted = [(each["goal"], place) for place, each in enumerate(compared) if each["goal"]]
    if wanted:
        axes.scatter(*zip(*wanted, strict=True), marker="|", s=250, color=ANOMALOUS, zorder=3, label="wanted")
        axes.legend(loc="upper right")
    axes.axvline(1, color="0.4", lw=1)
    axes.set(xscale="log", xlabel="times faster than without", xlim=(0.7 * min([1, *ratios]), 3 * max(ratios)))
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def description(result: dict) -> str:
    """What the picture shows, in words."""
    listed = ", ".join(f"{each['what']}: {each['ratio']:.3g}" for each in result["comparisons"] if "ratio" in each)
    return f"Bars of how many times faster each comparison is on {result['device']}. {listed}."


def parts(result: dict) -> dict[str, pd.DataFrame]:
    """Where the seconds of a comparison go: one table each, a row for each way and a column for each kind of work."""
    return {each["what"]: pd.DataFrame(each["parts"]).T for each in result["comparisons"] if "parts" in each}


def parts_figure(result: dict):
    """One panel a comparison, with its own axis: the seconds of both ways as bars, divided by kind of work."""
    profiles = parts(result)
    drawn, panels = plt.subplots(len(profiles), 1, figsize=(8, 0.8 + 1.5 * len(profiles)), layout="constrained")
    for axes, (what, seconds) in zip(np.atleast_1d(panels), profiles.items(), strict=True):
        seconds[::-1].plot.barh(stacked=True, ax=axes, width=0.7, legend=False, color=sns.color_palette("colorblind"))
        axes.set(title=what, xlabel="seconds")
        axes.title.set(ha="left", x=0, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return drawn


def parts_description(result: dict) -> str:
    """What the picture of the parts shows, in words."""
    told = [
        f"{what}, {way}: " + ", ".join(f"{kind} {seconds(value)}" for kind, value in row.items())
        for what, table in parts(result).items()
        for way, row in table.iterrows()
    ]
    return f"Bars divided by where the time goes. {'; '.join(told)}."

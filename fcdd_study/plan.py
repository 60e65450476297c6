"""In which order a profile is run, and how many hours it takes: estimated from the seconds of what is recorded.

Taught in: chapter 08.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from fcdd.files import whole

from . import grid, protocol, records

PLAN = yaml.safe_load((Path(__file__).parent / "plan.yml").read_text(encoding="utf-8"))
CORES = 2  # of the hours that are printed
UNKNOWN = 60.0  # seconds of a run where nothing like it is recorded
HEAD = 20 * 4096 * 2 * 33e3  # operations of an epoch of a head on frozen features: steps, places, layers


class Step(NamedTuple):
    """A part of a profile on one data set; later: only run when it is named."""

    title: str
    part: grid.Part
    later: bool = False

    @property
    def command(self) -> str:
        """What runs it, and it alone."""
        told = {"PROFILE": self.part.profile, "DATASETS": self.part.dataset}
        told |= {"METHODS": ",".join(self.part.methods), "ABLATIONS": ",".join(self.part.ablations)}
        return " ".join(["make study", *(f"{key}={value}" for key, value in told.items() if value)])


def steps(profile: str) -> list[Step]:
    """The profile in the order of plan.yml; where that says nothing, as profiles.yml has it.

    Raises ValueError for an unknown profile.
    """
    listed = PLAN.get(profile) or [{"profile": profile}]
    return [step for entry in listed for step in _steps(profile, entry)]


def _steps(profile: str, entry: dict) -> Iterator[Step]:
    name = entry.get("profile", profile)
    for dataset in [entry["dataset"]] if "dataset" in entry else protocol.data_sets(name):
        known, whole = protocol.profile(name, dataset), not {"methods", "ablations"} & entry.keys()
        methods, ablations = (entry.get(k, list(known[k]) if whole else []) for k in ("methods", "ablations"))
        waiting = [each for each in ablations if known["ablations"][each].get("later")]
        now = [each for each in ablations if each not in waiting]
        title = f"{entry['step']}, {dataset}" if "step" in entry and whole else entry.get("step", dataset)
        for some, others, later in ((methods, now, False), ([], waiting, True)):
            if some or others:
                yield Step(title, grid.Part(name, dataset, some, [], others), later)


def priority(profile: str, dataset: str, name: str) -> int:
    """The higher, the earlier a method or an ablation of a profile is run; 0 if the plan does not name it."""
    parts = [step.part for step in steps(profile) if step.part.profile == profile]
    for place, part in enumerate(parts):
        if part.dataset == dataset and name in (*part.methods, *part.ablations):
            return len(parts) - place
    return 0


# ---- what it takes ----


class Estimate(NamedTuple):
    """Of a step: its runs, those that are recorded and current, core-seconds of all and of what is left, and whether
    these were measured on the same data and network ("measured") or follow from others ("scaled", "guessed")."""

    step: Step
    runs: int
    current: int
    seconds: float
    left: float
    basis: str


RATES = records.shipped("rates.csv")


def estimates(profile: str, folder=records.FRESH) -> list[Estimate]:
    """What each step of a profile takes. ``folder``: the records that count as made."""
    rates = known_rates(folder)
    return [_estimate(step, rates, folder) for step in steps(profile)]


def known_rates(folder=records.FRESH) -> dict:
    """What the records of processors say, as :func:`_rates`; :func:`kept_rates` where they have it."""
    return _rates(_recorded(folder)) | kept_rates()


def _recorded(*folders) -> pd.DataFrame:
    return pd.concat([records.table(each, complain=lambda error: None) for each in (records.COMMITTED, *folders)])


def kept_rates() -> dict:
    """What data/rates.csv keeps of processors' records, as :func:`_rates`: of idle ones, so that it goes first."""
    rows = pd.read_csv(RATES, keep_default_na=False).itertuples(index=False)
    return {tuple(filter(None, (row.first, row.second))): row.seconds for row in rows}


def keep_rates() -> int:
    """Writes data/rates.csv anew, with what the committed and fresh records of processors say; returns its rows."""
    found = kept_rates() | _rates(_recorded(records.FRESH))
    rows = [{"first": key[0], "second": "".join(key[1:]), "seconds": rate} for key, rate in sorted(found.items())]
    with whole(RATES) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.4g")
    return len(rows)


def _estimate(step: Step, rates: dict, folder) -> Estimate:
    runs = step.part.runs()
    found, current = [seconds(run, rates) for run in runs], [records.is_current(run, folder) for run in runs]
    took = np.array([each[0] for each in found])
    basis = max((each[1] for each in found), key=BASES.index)
    return Estimate(step, len(runs), sum(current), took.sum(), took[~np.array(current)].sum(), basis)


def fitting(found: list[Estimate], budget: float) -> tuple[list[float], list[bool]]:
    """Hours up to and with each step, and which steps fit into ``budget`` hours: in their order, each that still does,
    none that is ``later``. What is recorded counts, too: the budget is that of the whole."""
    until, fit, total = [], [], 0.0
    for row in found:
        fits = not row.step.later and total + hours(row.seconds) <= budget
        total += hours(row.seconds) if fits else 0
        until.append(total)
        fit.append(fits)
    return until, fit


def spent(profile: str) -> str:
    """A line with the core-hours behind the fresh records of a profile."""
    table = records.table(records.FRESH, profile, complain=lambda error: None)
    took = ((table["seconds"] + table["score_seconds"]) * table["threads"]).sum() / 3600 if len(table) else 0.0
    return f"{took:.2f} core-hours in {len(table)} fresh records of {profile}"


def missing(cells: pd.DataFrame, rates: dict | None = None) -> pd.DataFrame:
    """What published cells that nobody has run would take, one row each: ``needs``, the command that runs the paper's
    schedule for it or why there is none, and ``hours`` of two cores by :func:`known_rates` (NaN without one).

    cells: rows of :func:`fcdd_study.verdicts.verdicts`. Commands that are alike run several cells at once.
    """
    rates = known_rates() if rates is None else rates
    found = [_needed(cell, rates) for cell in cells.to_dict("records")]
    return cells.assign(needs=[needs for needs, _ in found], hours=[took for _, took in found])


def _needed(cell: dict, rates: dict) -> tuple[str, float]:
    dataset, (method, _, change) = cell["dataset"], cell["record"].partition("+")
    if not method:
        return "a method that the library does not have", np.nan
    if dataset not in protocol.data_sets("paper"):
        return "images that are not to be had", np.nan
    entry = protocol.profile("paper", dataset)
    if method not in entry["methods"]:
        return "a place in the profile paper, which does not have it for these classes", np.nan
    command = f"make study PROFILE=paper DATASETS={dataset}"
    if change:
        name = next(name for name, study in entry["ablations"].items() if study["vary"] == change.partition("=")[0])
        runs = [run for run in protocol.ablation("paper", name, dataset) if run.label == cell["record"]]
        command += f" ABLATIONS={name}"
    else:
        one = None if cell["normal"] == "mean" else [cell["normal"]]
        runs = protocol.runs("paper", [method], one, dataset)
        command += f" METHODS={method}" + (f" CLASSES={one[0]}" if one else "")
    return command, hours_of(runs, rates)


BASES = ("measured", "scaled", "guessed")


def seconds(run: protocol.Run, rates: dict) -> tuple[float, str]:
    """Core-seconds of a run, and what they are based on; ``rates`` as of :func:`_rates`."""
    amount = work(run.method, run.dataset, run.settings, run.shares)
    limit = protocol.profile(run.profile, run.dataset)["hours"]
    for key, basis in zip(_keys(run.method, run.dataset, run.settings), ("measured", "scaled", "scaled"), strict=True):
        if key in rates:
            took = rates[key] * amount
            return (min(took, 3600 * limit) if limit else took), basis
    return UNKNOWN, BASES[2]


def _rates(table: pd.DataFrame) -> dict:
    """Core-seconds for one unit of work, medians over records, by what these have in common with a run."""
    found: dict[tuple, list] = {}
    for row in table.to_dict("records"):
        known = row["base"] in protocol.METHODS and row["dataset"] in PLAN["images"] and row["device"] == "cpu"
        if not known:
            continue
        amount = work(row["base"], row["dataset"], row["settings"], row["changes"])
        took = (row["seconds"] + row["score_seconds"]) * row["threads"]
        for key in _keys(row["base"], row["dataset"], row["settings"]):
            found.setdefault(key, []).append(took / amount)
    return {key: float(np.median(each)) for key, each in found.items()}


def _keys(method: str, dataset: str, settings: dict) -> list[tuple]:
    """What a run and a record can have in common, the nearest first."""
    network = _network(method, settings)
    if network is None:
        return [(method, dataset), (method,), ("no network",)]
    return [(dataset, network), ("network", dataset), ("network",)]


def work(method: str, dataset: str, settings: dict, shares: dict) -> float:
    """What a run computes, in products of training; without a network, its images."""
    images, channels, *size = PLAN["images"][dataset]
    size = shares.get("size") or size
    images *= 2 if shares.get("defects") else 1 / (1 - (shares.get("labelled") or 0))
    if (network := _network(method, settings)) is None:
        return images
    made, once = protocol.defaults(method) | settings, images * products(network, channels, *size)
    if network == "fcdd_mobilenet" and made.get("exposure") in ("auto", "feature-noise"):
        return once + HEAD * made["epochs"]
    epochs = made.get("epochs", 1) + 2 * made.get("pretrain_epochs", 0)  # there and back again
    return epochs * once * (2 if method == "autoencoder" else 1)


def _network(method: str, settings: dict) -> str | None:
    if method == "patches":  # nothing is trained
        return None
    network = (protocol.defaults(method) | settings).get("network")
    return "fcdd_mobilenet" if network == "auto" else network


@cache
def products(network: str, channels: int, height: int, width: int) -> float:
    """Floating-point operations of one forward pass of one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from fcdd import networks

    with torch.random.fork_rng(devices=[]):
        made = networks.build(network, channels)
        networks.first_forward(made, channels, (height, width))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        made.eval()(torch.zeros(1, channels, height, width))
    return float(counter.get_total_flops())


def hours_of(runs: list[protocol.Run], rates: dict) -> float:
    """Hours that the runs take together, by :func:`seconds`."""
    return hours(sum(seconds(run, rates)[0] for run in runs))


def hours(core_seconds: float) -> float:
    """On :data:`CORES` cores."""
    return core_seconds / CORES / 3600

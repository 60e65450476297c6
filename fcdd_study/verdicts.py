"""What the records say about the papers' numbers, cell by cell, and about each other. Taught in: chapter 08."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fcdd import auto, datasets

from . import protocol, records
from .statistics import Interval, bootstrap_interval, paired_test

PUBLISHED = records.shipped("published.yml")
REASONS = records.shipped("reasons.yml")
MEASURES = ("auroc", "pixel_auroc", "image_auroc")
TARGETS = ("S1", "S2")  # confidences that a verdict is given on
VERDICTS = ("reproduced", "within noise", "undecided", "not reproduced", "not run")
# Of a protocol, in which a run can differ from a paper. Fewer images of one exposure are a part of it, not another.
PARTS = ("data", "exposure", "part of the exposure", "network", "schedule", "seeds")
LEVEL = 0.9  # of the interval over seeds that a verdict looks at
BAND = 0.04  # what that interval may reach, at most this far from the published value, for "reproduced"
NOISE = 0.03  # half its width, at most, for "within noise"
ENOUGH = 5  # seeds, at least, for "within noise"
UNKNOWN = "cause unknown"
NEAREST = ("card", "full")  # profiles whose runs may stand beside a paper's number, the nearest to the papers first


# ---- what was published ----


def published(measure: str | None = "auroc") -> pd.DataFrame:
    """data/published.yml as a table: one row a value, ``normal`` is "mean" for means over classes.

    ``measure``: auroc (of images), pixel_auroc or image_auroc, as the file calls them; None: all. ``setting`` is empty
    where the paper has one only; ``record`` is the method of the runs to hold beside it, "" where there are none;
    ``digits`` are those printed after the point; ``protocol`` is what is known of the paper's, by the file's names.
    """
    entries = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    measures = MEASURES if measure is None else (measure,)
    return pd.DataFrame([row for entry in entries for name in measures for row in _rows(entry, name)])


def _rows(entry: dict, measure: str) -> list[dict]:
    head = {key: entry[key] for key in ("dataset", "method", "source", "citation", "confidence", "digits")}
    head |= {"setting": entry.get("setting", ""), "measure": measure, "protocol": entry.get("protocol", {})}
    head["record"] = entry.get("record", "" if head["setting"] else entry["method"])
    values = dict(entry.get(measure, {}))
    values |= {"mean": entry["mean"][measure]} if measure in entry.get("mean", {}) else {}
    return [{**head, "normal": normal, "value": value} for normal, value in values.items()]


class Reason(NamedTuple):
    """Why a number is not reproduced ("" where the experiment only tells what it is not), and the runs that show it, by
    their method, "fcdd+exposure=cifar10", or by profile and method, "check/fcdd"."""

    text: str
    experiment: str


def reasons() -> dict[tuple[str, str, str], Reason]:
    """data/reasons.yml: (data set, method, class) → :class:`Reason`; class "" stands for all.

    Raises ValueError for an entry that names no experiment.
    """
    entries = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or []
    for entry in entries:
        if not entry.get("experiment"):
            place = " ".join(str(entry.get(key, "")) for key in ("dataset", "method", "normal"))
            raise ValueError(
                f"expected each reason in {REASONS.name} to name the experiment that shows it, got none for {place}; "
                "add experiment: the method of its runs, as in fcdd+exposure=cifar10, or remove the entry"
            )
    keys = [(entry["dataset"], entry["method"], str(entry.get("normal", ""))) for entry in entries]
    return {key: Reason(entry.get("reason", ""), entry["experiment"]) for key, entry in zip(keys, entries, strict=True)}


# ---- ours beside it ----


def t_interval(values, level: float = 0.95) -> Interval:
    """Student's interval of the mean of ``values`` (n,), NaN to NaN for a single one.

    A cell has three or five seeds. A bootstrap of so few draws the same values again and again: its interval cannot
    leave their range, and holds the true mean much less often than it says. Student's widens as it should.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return Interval(float(values.mean()), np.nan, np.nan)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return Interval(*map(float, (values.mean(), values.mean() - half, values.mean() + half)))


def of_seeds(recorded: pd.DataFrame, dataset: str, method: str, normal: str, measure: str = "auroc") -> pd.Series:
    """What each seed gives for a published cell, indexed by seed; empty if nothing was run.

    For "mean" that is the mean over all classes of the data set, of seeds that have them all. Raises ValueError if runs
    of several profiles are among them.
    """
    wanted = recorded["dataset"].eq(dataset) & recorded["method"].eq(method)
    runs = recorded[wanted].dropna(subset=[measure]) if measure in recorded else recorded[:0]
    if runs.empty:
        return pd.Series(dtype=float)
    _check_one_profile(runs)
    by_class = runs.pivot_table(measure, "seed", "normal")
    if normal != "mean":
        return by_class[normal].dropna() if normal in by_class else pd.Series(dtype=float)
    return by_class.reindex(columns=datasets.classes(dataset)).mean(axis=1, skipna=False).dropna()


def nearest(recorded: pd.DataFrame) -> pd.DataFrame:
    """Of a table of runs those that a published cell is judged by: of each data set and method the runs of one profile,
    the first of :data:`NEAREST` that has any."""
    kept = recorded[recorded["profile"].isin(NEAREST)]
    places = kept["profile"].map(NEAREST.index)
    return kept[places == places.groupby([kept["dataset"], kept["method"]]).transform("min")]


def _check_one_profile(runs: pd.DataFrame) -> None:
    """Raises ValueError for runs of several profiles: a seed that two of them hold would be averaged with itself."""
    if "profile" in runs and runs["profile"].nunique() > 1:
        names = ", ".join(sorted(runs["profile"].unique()))
        raise ValueError(
            f"expected runs of one profile, got {names}; choose one, as in table[table['profile'] == 'full']"
        )


# ---- first answer: does the value agree? ----


def judge(difference: float, half: float, seeds: int, tolerance: float) -> str:
    """The verdict on a cell from ours minus published, half the width of our 90 % interval, and the number of seeds.

    How the rule is read. *Reproduced*: the difference is at most ``tolerance`` (:func:`verdicts` takes .02 and half
    the last printed digit), and the whole interval lies within .04 of the published value. *Within noise*: else, with
    five seeds or more, half the width at most .03, and the published value inside the interval. *Undecided*: else,
    where a narrower interval could change the answer: a single seed, which has none (``half`` is NaN); a difference
    within ``tolerance``, which only the interval keeps from being reproduced; the published value inside the interval
    of fewer than five seeds; half the width above .03 with an interval that reaches what counts as equal, published ±
    ``tolerance``. *Not reproduced*: the rest, thus also a wide interval far from all that counts as equal.
    """
    apart, dust = abs(difference), 1e-9
    if seeds < 2:
        return "undecided"
    close = apart <= tolerance + dust
    inside = apart <= half + dust
    if close and apart + half <= BAND + dust:
        return "reproduced"
    if inside and seeds >= ENOUGH and half <= NOISE + dust:
        return "within noise"
    reaches = half > NOISE + dust and apart - half <= tolerance + dust
    few = inside and seeds < ENOUGH
    return "undecided" if close or few or reaches else "not reproduced"


def seeds_to_decide(difference: float, spread: float, seeds: int, tolerance: float) -> float:
    r"""The least number of seeds that would decide an undecided cell, were mean and spread to stay as they are.

    The first :math:`n` above ``seeds`` for which :func:`judge` is not undecided with the half-width
    :math:`t_{.95, n - 1}\, s / \sqrt{n}`, ``spread`` :math:`s`. NaN for a single seed, which has no spread, and where
    ten thousand would not do.
    """
    n = np.arange(seeds + 1, 10_001)
    halves = stats.t.ppf((1 + LEVEL) / 2, n - 1) * spread / np.sqrt(n)
    decided = (k for k, half in zip(n, halves, strict=True) if judge(difference, half, k, tolerance) != "undecided")
    return np.nan if np.isnan(spread) else float(next(decided, np.nan))


# ---- second answer: what differs in the protocol? ----


def conducted(run: dict) -> dict[str, object]:
    """The protocol of a run, a row of :func:`fcdd_study.records.table`, by the names that data/published.yml uses.

    ``data``: "official" or what the loader says of a copy, with the size that images were given and the images left
    out, if any; ``exposure``: a source's name, "defects" for labelled ones, or "none"; ``network``, ``epochs``,
    ``pretrain_epochs``: as set, or the detector's default; left out where the method has none. A training that was cut
    has the epochs that it came to. ``exposure_images``: how many outliers there were to draw from, if they are a set.
    """
    made = protocol.defaults(run["base"]) | run["settings"]
    chosen, source = run["selection"], run["source"]
    copy = source[source.find("(") + 1 : -1] if "not the official" in source else "official"
    size = chosen.get("options", {}).get("size")
    made |= auto.resolve(made, (3, *size) if size else (1, 28, 28))  # sizes of the small sets change nothing here
    parts = [copy] + ([" × ".join(map(str, size))] if size else [])
    parts += [f"{chosen[key]} {key}ing images" for key in ("train", "test") if chosen[key] is not None]
    labelled = protocol.METHODS[run["base"]].shares.get("defects") or run["changes"].get("defects")
    exposure = "defects" if labelled else made.get("exposure") or "none"
    kept = {key: made[key] for key in ("network", "epochs", "pretrain_epochs") if key in made}
    counted = {"epochs": run.get("cut_epochs"), "exposure_images": run.get("exposure_images")}
    kept |= {key: int(value) for key, value in counted.items() if value is not None and value == value}
    return {"data": ", ".join(parts), "exposure": exposure} | kept


def differing(ours: list[dict], seeds: int, theirs: dict) -> tuple[list[str], list[str]]:
    """In which of :data:`PARTS` our runs (:func:`conducted`) differ from a paper's protocol, and which are not known.

    The schedule is the number of epochs, and of epochs before (``pretrain_epochs``) where the paper's is known;
    learning rate, batch size and augmentation are not compared.
    """
    fields = {part: (part,) for part in PARTS} | {"schedule": ("epochs", "pretrain_epochs")}
    fields["part of the exposure"] = ("exposure_images",)
    if any(each.get("exposure") != theirs.get("exposure") for each in ours) or "exposure_images" not in theirs:
        del fields["part of the exposure"]  # another exposure, or none, has no number to compare
    known = {part: [key for key in keys if key in theirs] for part, keys in fields.items()}
    ours = [{**each, "seeds": seeds} for each in ours]
    differs = [part for part, keys in known.items() if any(e.get(key) != theirs[key] for e in ours for key in keys)]
    return differs, [part for part, keys in known.items() if not keys]


# ---- both, for every published cell ----


def verdicts(
    recorded: pd.DataFrame, published: pd.DataFrame, tolerance: float = 0.02, why=None, experiments=None
) -> pd.DataFrame:
    """One row for each published cell that can be a target: published, ours, seeds, low, high, verdict, differs, …

    recorded: a table of runs (:func:`fcdd_study.records.table`); published: a table of :func:`published`; why: as
    :func:`reasons`; experiments: the table that these are looked up in, by default ``recorded``. ``verdict`` is
    :func:`judge`'s, from the 90 % interval over seeds ``low`` to ``high`` (:func:`t_interval`), with ``tolerance`` and
    half the last printed digit; ``to_decide`` the number of seeds that would decide. ``differs`` are the parts of the
    protocol that are not the paper's, ``unknown`` those of which nobody knows (:func:`differing`). ``reason`` is given
    for what is not reproduced, "cause unknown" unless the experiment that it names reaches the published value; what
    that reached instead stands beside it. ``rerun`` is an independent reproduction's value, ``remembered`` one that
    was written down from memory: neither is judged. ``counted`` is false for a mean beside its own classes; ``stale``
    is the number of runs whose code or settings have changed since.
    """
    why = reasons() if why is None else why
    experiments = recorded if experiments is None else experiments
    keys = ["dataset", "method", "setting", "measure", "normal"]
    beside = {name: published[published["confidence"] == tag].groupby(keys)["value"].mean()
              for name, tag in (("rerun", "R"), ("remembered", "M"))}  # fmt: skip
    targets = published[published["confidence"].isin(TARGETS)]
    alone = targets.groupby([*keys[:-1], "source"])["normal"].transform("size") == 1
    rows = []
    for cell, counted in zip(targets.to_dict("records"), alone | (targets["normal"] != "mean"), strict=True):
        row = {key: cell[key] for key in (*keys, "record", "confidence", "source")}
        row |= {"published": cell["value"], "counted": counted}
        row |= {name: values.get(tuple(cell[key] for key in keys), np.nan) for name, values in beside.items()}
        equal = tolerance + 0.5 * 10.0 ** -cell["digits"]
        row |= _judged(cell, recorded, equal)
        if row["verdict"] == "not reproduced":
            row["reason"] = _shown(cell, experiments, equal, why)
        rows.append(row)
    return pd.DataFrame(rows)


def _judged(cell: dict, recorded: pd.DataFrame, tolerance: float) -> dict:
    """Our side of a row of :func:`verdicts`."""
    ours = of_seeds(recorded, *(cell[key] for key in ("dataset", "record", "normal", "measure")))
    if ours.empty:
        nothing = dict.fromkeys(("ours", "spread", "low", "high", "difference", "to_decide"), np.nan)
        return nothing | {"seeds": 0, "verdict": "not run", "differs": "", "unknown": "", "reason": "", "stale": 0}
    mean, low, high = t_interval(ours, LEVEL)
    difference, spread = mean - cell["value"], ours.std()
    verdict = judge(difference, high - mean, len(ours), tolerance)
    more = seeds_to_decide(difference, spread, len(ours), tolerance) if verdict == "undecided" else np.nan
    behind = recorded[recorded["dataset"].eq(cell["dataset"]) & recorded["method"].eq(cell["record"])]
    behind = behind if cell["normal"] == "mean" else behind[behind["normal"] == cell["normal"]]
    differs, unknown = differing([conducted(run) for run in behind.to_dict("records")], len(ours), cell["protocol"])
    judged = {"ours": mean, "spread": spread, "low": low, "high": high, "difference": difference, "to_decide": more}
    judged |= {"differs": ", ".join(differs), "unknown": ", ".join(unknown)}
    stale = int((behind["stale"] != "").sum())
    return judged | {"seeds": len(ours), "verdict": verdict, "reason": "", "stale": stale}


def _shown(cell: dict, experiments: pd.DataFrame, tolerance: float, why: dict) -> str:
    """The reason for a cell with what its experiment reached, if that is the published value; else "cause unknown", and
    what was tried."""
    place = cell["dataset"], cell["record"]
    reason = why.get((*place, cell["normal"]), why.get((*place, "")))
    if reason is None:
        return UNKNOWN
    profile, _, method = reason.experiment.rpartition("/")
    runs = experiments[experiments["profile"] == profile] if profile else experiments
    found = of_seeds(runs, cell["dataset"], method, cell["normal"], cell["measure"])
    if found.empty:
        return UNKNOWN
    told = f"{reason.experiment}: {found.mean():.3f}" + (", one seed" if len(found) == 1 else "")
    reached = abs(found.mean() - cell["value"]) <= tolerance + 1e-9
    return f"{reason.text} ({told})" if reason.text and reached else f"{UNKNOWN} (tried {told})"


def counts(judged: pd.DataFrame) -> pd.DataFrame:
    """Both answers of a table of :func:`verdicts` counted: a row a verdict, and their sum.

    ``cells`` with that verdict; of those that have runs, how many differ in nothing that is known, in each of
    :data:`PARTS`, and how many papers do not say all of it (``unknown``). Means beside their own classes are left out.
    """
    cells = judged[judged["counted"]]
    differs = cells["differs"].str.split(", ")
    ran = cells["verdict"] != "not run"
    marks = {"cells": pd.Series(True, cells.index), "no difference known": ran & (cells["differs"] == "")}
    marks |= {part: differs.map(lambda found, part=part: part in found) for part in PARTS}
    marks["unknown"] = cells["unknown"] != ""
    table = pd.DataFrame(marks).astype(int).groupby(cells["verdict"]).sum()
    table = table.reindex(VERDICTS, fill_value=0)
    return pd.concat([table, table.sum().to_frame("all").T]).rename_axis("verdict")


# ---- methods beside each other ----


class Comparison(NamedTuple):
    """Methods compared on the same splits: mean ranks (1 = best), Friedman's p, Nemenyi's critical difference."""

    ranks: pd.Series
    friedman: float
    critical: float
    pairs: pd.DataFrame
    splits: int


def compare(table: pd.DataFrame, methods=None, measure: str = "auroc", *, to: str | None = None) -> Comparison:
    """Compares the method ``to`` with each other one over the splits (data set, class) that all have, seeds averaged.

    ``friedman`` asks whether any differ at all (NaN for two methods), Wilcoxon's signed-rank test which pairs do, with
    Holm's correction for the number of pairs; ``difference`` is the mean of first minus second. ``seeds_low`` to
    ``seeds_high`` is Student's paired interval over the seeds that both have on all splits, for these very classes:
    they are the whole benchmark, not a sample (NaN below two such ``seeds``). ``low`` to ``high``, a bootstrap over
    splits, answers another question: what to expect on a new class. Without ``to`` all pairs are compared; of ten
    methods on ten splits the correction then leaves no p below .088 (45 · 2 / 2¹⁰). Raises ValueError for fewer than
    two methods or two common splits, for a ``to`` that is not among them, and for runs of several profiles. Source:
    Demšar 2006, sections 3.1.3, 3.2.2 and 3.2.3.
    """
    _check_one_profile(table)
    methods = list(table["method"].unique() if methods is None else methods)
    scores = table.pivot_table(measure, ["dataset", "normal"], "method").reindex(columns=methods).dropna()
    if len(methods) < 2 or len(scores) < 2:
        raise ValueError(
            f"expected two methods or more that have two splits or more in common, got {len(methods)} methods "
            f"({', '.join(methods)}) and {len(scores)} splits; make the missing runs or name fewer methods"
        )
    if to is not None and to not in methods:
        raise ValueError(f"expected one of the methods to compare with, {', '.join(methods)}, got to={to!r}")
    friedman = stats.friedmanchisquare(*scores.to_numpy().T).pvalue if len(methods) > 2 else np.nan
    ranks = scores.rank(axis=1, ascending=False).mean()
    chosen = combinations(methods, 2) if to is None else ((to, other) for other in methods if other != to)
    pairs = pd.DataFrame(
        [_pair(first, second, scores) | _over_seeds(first, second, table, scores, measure) for first, second in chosen]
    )
    pairs["p_holm"] = holm(pairs["p"])
    return Comparison(ranks, float(friedman), critical_difference(len(methods), len(scores)), pairs, len(scores))


def _pair(first: str, second: str, scores: pd.DataFrame) -> dict:
    gap = scores[first] - scores[second]
    mean, low, high = bootstrap_interval(gap)
    p = paired_test(scores[first], scores[second]) if (gap != 0).any() else 1.0
    better = int((gap > 0).sum())
    return {"first": first, "second": second, "difference": mean, "low": low, "high": high, "better": better, "p": p}


def _over_seeds(first: str, second: str, table: pd.DataFrame, scores: pd.DataFrame, measure: str) -> dict:
    """Student's paired interval over seeds of the mean difference on the splits of ``scores``."""
    if "seed" not in table:  # published values have none
        return {"seeds": 0, "seeds_low": np.nan, "seeds_high": np.nan}
    by_seed = table.pivot_table(measure, ["method", "seed"], ["dataset", "normal"]).reindex(columns=scores.index)
    means = by_seed.mean(axis=1, skipna=False).unstack("method").reindex(columns=[first, second]).dropna()
    gaps = means[first] - means[second]
    low, high = t_interval(gaps)[1:] if len(gaps) > 1 else (np.nan, np.nan)
    return {"seeds": len(gaps), "seeds_low": low, "seeds_high": high}


def holm(p) -> np.ndarray:
    """Holm's adjusted p-values, for all of ``p`` (n,) together."""
    return multipletests(p, method="holm")[1]


def critical_difference(methods: int, splits: int, level: float = 0.05) -> float:
    r"""By how much mean ranks must differ: Nemenyi's :math:`q_\alpha \sqrt{k (k + 1) / 6N}`, k methods, N splits."""
    q = stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * splits)))


def side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Two tables of runs by method and class, where both have some: columns method, normal, first, second."""
    keys = ["dataset", "method", "normal"]
    means = [table.groupby(keys, sort=False)["auroc"].mean() for table in (first, second)]
    return pd.concat(means, axis=1, keys=["first", "second"], join="inner").reset_index()

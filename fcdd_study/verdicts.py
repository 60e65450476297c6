"""What the records say about the papers' numbers, cell by cell, and about each other. Taught in: chapter 08."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fcdd import datasets

from . import records
from .statistics import Interval, bootstrap_interval, paired_test

PUBLISHED = records.shipped("published.yml")
REASONS = records.shipped("reasons.yml")
MEASURES = ("auroc", "pixel_auroc", "image_auroc")
TARGETS = ("S1", "S2")  # confidences that a verdict is given on
VERDICTS = ("reproduced", "within noise", "not reproduced", "not run")


# ---- what was published ----


def published(measure: str | None = "auroc") -> pd.DataFrame:
    """data/published.yml as a table: one row a value, ``normal`` is "mean" for means over classes.

    ``measure``: auroc (of images), pixel_auroc or image_auroc, as the file calls them; None: all. ``setting`` is empty
    where the paper has one only; ``record`` is the method of the runs to hold beside it, "" where there are none.
    """
    entries = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    measures = MEASURES if measure is None else (measure,)
    return pd.DataFrame([row for entry in entries for name in measures for row in _rows(entry, name)])


def _rows(entry: dict, measure: str) -> list[dict]:
    head = {key: entry[key] for key in ("dataset", "method", "source", "citation", "confidence")}
    head |= {"setting": entry.get("setting", ""), "measure": measure}
    head["record"] = entry.get("record", "" if head["setting"] else entry["method"])
    values = dict(entry.get(measure, {}))
    values |= {"mean": entry["mean"][measure]} if measure in entry.get("mean", {}) else {}
    return [{**head, "normal": normal, "value": value} for normal, value in values.items()]


def reasons() -> dict[tuple[str, str, str], str]:
    """data/reasons.yml: (data set, method, class) → why a number is not reproduced; class "" stands for all."""
    entries = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or []
    return {(entry["dataset"], entry["method"], str(entry.get("normal", ""))): entry["reason"] for entry in entries}


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


def _check_one_profile(runs: pd.DataFrame) -> None:
    """Raises ValueError for runs of several profiles: a seed that two of them hold would be averaged with itself."""
    if "profile" in runs and runs["profile"].nunique() > 1:
        names = ", ".join(sorted(runs["profile"].unique()))
        raise ValueError(
            f"expected runs of one profile, got {names}; choose one, as in table[table['profile'] == 'full']"
        )


def verdicts(recorded: pd.DataFrame, published: pd.DataFrame, tolerance: float = 0.02, why=None) -> pd.DataFrame:
    """One row for each published cell that can be a target: published, ours, seeds, spread, low, high, verdict, …

    recorded: a table of runs (:func:`fcdd_study.records.table`); published: a table of :func:`published`; why: as
    :func:`reasons`. The verdicts: "reproduced", at most ``tolerance`` apart; "within noise", farther, but the published
    value lies in our interval over seeds (:func:`t_interval`): these seeds cannot tell the two apart; "not reproduced";
    "not run". ``rerun`` is an independent reproduction's value, ``stale`` the number of runs whose code or settings
    have changed since.
    """
    why = reasons() if why is None else why
    keys = ["dataset", "method", "setting", "measure", "normal"]
    rerun = published[published["confidence"] == "R"].groupby(keys)["value"].mean()
    rows = []
    for cell in published[published["confidence"].isin(TARGETS)].to_dict("records"):
        row = {key: cell[key] for key in (*keys, "record", "confidence", "source")}
        row |= {"published": cell["value"], "rerun": rerun.get(tuple(cell[key] for key in keys), np.nan)}
        rows.append(row | _judged(cell, recorded, tolerance, why))
    return pd.DataFrame(rows)


def _judged(cell: dict, recorded: pd.DataFrame, tolerance: float, why: dict) -> dict:
    """Our side of a row of :func:`verdicts`."""
    ours = of_seeds(recorded, *(cell[key] for key in ("dataset", "record", "normal", "measure")))
    place = cell["dataset"], cell["record"] or cell["method"]
    reason = why.get((*place, cell["normal"]), why.get((*place, ""), ""))
    if ours.empty:
        nothing = dict.fromkeys(("ours", "spread", "low", "high", "difference"), np.nan)
        return nothing | {"seeds": 0, "verdict": "not run", "reason": reason, "stale": 0}
    mean, low, high = t_interval(ours)
    difference = mean - cell["value"]
    if abs(difference) <= tolerance + 1e-9:
        verdict, reason = "reproduced", ""
    elif low <= cell["value"] <= high:
        verdict, reason = "within noise", ""
    else:
        verdict = "not reproduced"
    behind = recorded[recorded["dataset"].eq(cell["dataset"]) & recorded["method"].eq(cell["record"])]
    behind = behind if cell["normal"] == "mean" else behind[behind["normal"] == cell["normal"]]
    stale = int((behind["stale"] != "").sum()) if "stale" in behind else 0
    judged = {"ours": mean, "spread": ours.std(), "low": low, "high": high, "difference": difference}
    return judged | {"seeds": len(ours), "verdict": verdict, "reason": reason, "stale": stale}


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
    Holm's correction for the number of pairs; ``difference`` is the mean of first minus second, with a bootstrap
    interval over splits. Without ``to`` all pairs are compared; of ten methods on ten splits the correction then leaves
    no p below .088 (45 · 2 / 2¹⁰). Raises ValueError for fewer than two methods or two common splits, for a ``to`` that
    is not among them, and for runs of several profiles. Source: Demšar 2006, sections 3.1.3, 3.2.2 and 3.2.3.
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
    pairs = pd.DataFrame([_pair(first, second, scores) for first, second in chosen])
    pairs["p_holm"] = holm(pairs["p"])
    return Comparison(ranks, float(friedman), critical_difference(len(methods), len(scores)), pairs, len(scores))


def _pair(first: str, second: str, scores: pd.DataFrame) -> dict:
    gap = scores[first] - scores[second]
    mean, low, high = bootstrap_interval(gap)
    p = paired_test(scores[first], scores[second]) if (gap != 0).any() else 1.0
    better = int((gap > 0).sum())
    return {"first": first, "second": second, "difference": mean, "low": low, "high": high, "better": better, "p": p}


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

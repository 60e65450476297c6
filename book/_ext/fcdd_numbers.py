"""A role for numbers in prose, so that they come from run records and are never typed: {run}`quick/fcdd/auroc`.

The text is ``profile[@dataset]/method[/metric[:statistic][/class]]``:

- profile: a name from profiles.yml, or ``this``, the one the book is built with (``$FCDD_PROFILE``, else quick);
- dataset: the profile's own if left out; method: svdd, deep-svdd, deep-sad, hsc, fcdd, or ``*`` for all;
- metric: a column of ``fcdd_study.records.table``; auroc if left out;
- statistic: mean (if left out; over seeds, then classes), sd (between seeds), min, max, sum, n (number of runs);
- class: one nominal class, as in ``quick/fcdd/auroc/T-shirt/top``; all if left out.

``a - b`` is the difference of two of them, with its sign. Hovering shows which records a number comes from. Missing
records are a warning, which stops a build with ``-W``. A number from a stale record is marked with a dagger.

Words that depend on numbers come from them, too: {compare}`this/fcdd ? this/hsc: better | worse | no better` says the
first where the first number is larger, the second where it is smaller, the third where they are printed alike.
"""

import os
import re
from pathlib import Path

import pandas as pd
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from fcdd_study import protocol, records

QUERY = re.compile(
    r"(?P<profile>[\w-]+)(@(?P<dataset>[\w-]+))?/(?P<method>([\w*+=.-]|\([\d, ]*\))+)"
    r"(/(?P<metric>\w+)(:(?P<statistic>\w+))?(/(?P<normal>.+))?)?"
)
COMPARISON = re.compile(r"(.+?) \? (.+?): (.+?) \| (.+?) \| (.+)")
STATISTICS = {
    "mean": lambda runs: runs.groupby("normal").value.mean().mean(),
    "sd": lambda runs: runs.groupby("seed").value.mean().std(),
    "min": lambda runs: runs.value.min(),
    "max": lambda runs: runs.value.max(),
    "sum": lambda runs: runs.value.sum(),
    "n": len,
}
STALE = "stale"  # in the origin of a number whose record is older than its code, data or settings
logger = logging.getLogger(__name__)


def read(folders) -> pd.DataFrame:
    """All records below the folders, one row a run; where two have the same id, the first folder's counts."""
    return pd.concat([records.table(Path(folder)) for folder in folders], ignore_index=True).drop_duplicates("id")


def number(text: str, table: pd.DataFrame, this: str = "quick") -> tuple[str, str]:
    """The formatted number that ``text`` asks for, and where it comes from. Raises ValueError that says what to run."""
    (value, unit, origin), *minus = [_evaluate(term, table, this) for term in text.split(" - ", 1)]
    sign = "+" if minus else ""
    for other, _, other_origin in minus:
        value, origin = value - other, f"{origin}; minus {other_origin}"
    digits = {"count": 0, "seconds": 0 if abs(value) >= 10 else 1}.get(unit, 3)
    return f"{value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}"), origin


def comparison(text: str, table: pd.DataFrame, this: str = "quick") -> tuple[str, str]:
    """The words that ``text`` has for how its two numbers differ, and these. Raises ValueError as :func:`number`."""
    match = COMPARISON.fullmatch(text.strip())
    if not match:
        raise ValueError(f"cannot read {text!r}; expected: number ? number: words if more | if less | if equal")
    first, second, *words = match.groups()
    difference, origin = number(f"{first} - {second}", table, this)
    equal = not difference.strip("+\N{MINUS SIGN}0.,")
    return words[2 if equal else 0 if difference.startswith("+") else 1], f"{difference}: {origin}"


def _evaluate(text, table, this):
    """Value, unit and origin of one term."""
    match = QUERY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"cannot read {text!r}; expected profile/method[/metric[:statistic][/class]]")
    query = match.groupdict(default="")
    metric, statistic = query["metric"] or "auroc", query["statistic"] or "mean"
    runs, profile = _select(query, table, this)
    if metric not in table or statistic not in STATISTICS:
        raise ValueError(f"unknown metric or statistic in {text!r}; known: {', '.join(table)}; {', '.join(STATISTICS)}")
    runs = runs.assign(value=pd.to_numeric(runs[metric], "coerce")).dropna(subset="value")
    if runs.empty:
        raise ValueError(f"no record for {text!r}; make them with: make study PROFILE={profile}")
    if statistic == "sd" and runs.seed.nunique() < 2:
        raise ValueError(f"{text!r} asks for the spread of a single seed")
    unit = "count" if statistic == "n" else "seconds" if metric == "seconds" else ""
    counts = f"{len(runs)} run(s), {runs.normal.nunique()} class(es), {runs.seed.nunique()} seed(s)"
    example = runs.id.iloc[0] + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
    origin = f"{statistic} of {metric} over {counts}: {example}"
    old = sorted(set(runs.stale) - {""}) if "stale" in runs else []
    return STATISTICS[statistic](runs), unit, origin + (f" ({STALE}, {'; '.join(old)})" if old else "")


def _select(query, table, this):
    """The records a query means, and their profile. Raises ValueError if some of the profile's runs are missing."""
    profile = this if query["profile"] == "this" else query["profile"]
    known = list(protocol.PROFILES.get(profile, {}))
    wanted = query | {"profile": profile, "dataset": query["dataset"] or (known[0] if known else "")}
    for column in ("profile", "dataset", "method", "normal"):
        if wanted[column] not in ("", "*"):
            table = table[table[column] == wanted[column]]
    if wanted["dataset"] in known and "+" not in query["method"]:
        methods = None if query["method"] == "*" else [query["method"]]
        nominal = [query["normal"]] if query["normal"] else None
        needed = {run.id for run in protocol.runs(profile, methods, nominal, wanted["dataset"])}
        table = table[table.id.isin(needed)]
        if len(table) < len(needed):
            have = f"{len(table)} of {len(needed)} records are there"
            raise ValueError(f"{have}; make the rest with: make study PROFILE={profile}")
    if table.dataset.nunique() > 1:
        raise ValueError(f"several data sets, {', '.join(table.dataset.unique())}; name one: {profile}@dataset/...")
    return table, profile


class RunNumber(SphinxRole):
    """{run}`...` and {compare}`...`: a number, or words, from run records, with their origin as the title."""

    def run(self):
        self.env.note_reread()  # records change, vanish and are joined by others while the page stays the same
        told = {"run": number, "compare": comparison}[self.name]
        try:
            (shown, origin), classes = told(self.text, self.env.app.fcdd_runs, self.config.fcdd_profile), [self.name]
        except ValueError as error:
            place = self.get_location()
            logger.warning("{%s}`%s`: %s", self.name, self.text, error, location=place, type="fcdd", subtype="run")
            shown, origin, classes = "??", str(error), ["run", "missing"]
        if f"({STALE}, " in origin:
            classes.append(STALE)
            shown += "†" * (self.name == "run")
        return [nodes.abbreviation(self.rawtext, shown, explanation=origin, classes=classes)], []


def _load(app, env, docnames):
    root = Path(os.environ.get("FCDD_ROOT", records.ROOT))
    folders = [root / folder.relative_to(records.ROOT) for folder in (records.FRESH, records.COMMITTED)]
    app.fcdd_runs = read(app.config.fcdd_records or folders)


def setup(app):
    app.add_config_value("fcdd_records", [], "env")
    app.add_config_value("fcdd_profile", os.environ.get("FCDD_PROFILE", "quick"), "env")
    app.add_role("run", RunNumber())
    app.add_role("compare", RunNumber())
    app.connect("env-before-read-docs", _load)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Run records: one JSON file a run, checked against record.schema.json, written whole or not at all.

Fresh records lie in _build/records, those of longer profiles are committed in data/records. Taught in: chapter 08.
"""

import csv
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import fastjsonschema
import numpy as np
import pandas as pd

from fcdd.files import whole

from . import hashes, protocol

SCHEMA_VERSION = 4  # 4 added the number of outliers and of cores, and seconds of scoring without measuring
CHECKOUT = Path(__file__).parents[1]
ROOT = CHECKOUT if (CHECKOUT / "pyproject.toml").exists() else Path.cwd()  # installed without a checkout: where you are
FRESH = ROOT / "_build" / "records"


def shipped(name: str) -> Path:
    """A file of ``data/``: the checkout's, or the copy that the wheel brings."""
    return path if (path := ROOT / "data" / name).exists() else Path(__file__).parent / "data" / name


COMMITTED = shipped("records")


SCHEMA = json.loads((Path(__file__).parent / "record.schema.json").read_text(encoding="utf-8"))
validate = fastjsonschema.compile(SCHEMA)
COLUMNS = ["id", "dataset", "normal", "method", "seed", "profile", "auroc"]


def path_of(run: protocol.Run, folder: Path = FRESH) -> Path:
    """Where the record of a run lies."""
    return folder / f"{run.id}.json"


def write(record: dict, folder: Path = FRESH) -> Path:
    """Writes a record to a temporary file and renames it, so that a kill leaves the old one or the new one.

    Raises ValueError if the record has another form; nothing is written then.
    """
    validate(record)
    if not np.isfinite([*record["metrics"].values(), *record["history"]]).all():
        raise ValueError(f"expected finite metrics and history, got NaN or infinity in {record['run']['id']}")
    path = folder / f"{record['run']['id']}.json"
    with whole(path) as partial:
        partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return path


def read(path: Path) -> dict:
    """A record. Raises ValueError naming the file if it does not parse or has another form."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        validate(record)
    except ValueError as error:  # no JSON, no UTF-8, not of this form
        raise ValueError(
            f"{path} is not a run record: {str(error).splitlines()[0]}; remove it and run again"
        ) from error
    return record


def run_of(record: dict) -> protocol.Run:
    """The run that a record is of."""
    fields = {key: value for key, value in record["run"].items() if key != "id"}
    return protocol.Run(**fields | {"changes": tuple((key, _tuple(v)) for key, v in fields["changes"].items())})


def stale(record: dict) -> list[str]:
    """Why a record no longer says what its run would give today; empty if it does.

    "code": the files behind its run have changed; "schema": it has an older form; "settings" or "selection": its
    profile has; "profile": that no longer names such a run. The data are not read again.
    """
    run = run_of(record)
    try:
        wanted = {"settings": run.settings, "selection": run.selection}
    except ValueError:
        return ["profile"]
    wanted = {"schema": SCHEMA_VERSION} | json.loads(json.dumps(wanted))
    reasons = ["code"] if record["code"]["sha256"] != hashes.of_run(run) else []
    return reasons + [key for key, value in wanted.items() if record[key] != value]


def is_current(run: protocol.Run, folder: Path = FRESH) -> bool:
    """Whether the run's record exists and was made by today's code, settings and choice of images."""
    try:
        record = read(path_of(run, folder))
    except (FileNotFoundError, ValueError):
        return False
    return record["run"]["id"] == run.id and not stale(record)


def table(
    folder: Path = FRESH, profile: str | None = None, dataset: str | None = None, complain: Callable | None = None
) -> pd.DataFrame:
    """The records below a folder as a table, one row a run: profile, dataset, method, normal, seed, auroc, …

    A run with changed settings counts as a method of its own, "fcdd+exposure=confetti"; then ``base`` is its method and
    ``changes`` what was changed of ``settings``. ``stale`` says why a record is out of date, "" if it is not. A damaged
    record raises ValueError; with ``complain``, this is called with the error and the record left out.
    """
    rows = []
    for path in sorted(Path(folder).glob(f"{profile or '*'}/{dataset or '*'}/**/[!.]*.json")):  # no half-written ones
        try:
            rows.append(_row(read(path)))
        except ValueError as error:
            if complain is None:
                raise
            complain(error)
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def table_of(runs: list[protocol.Run], folder: Path = FRESH) -> pd.DataFrame:
    """The table of these runs, in their order; others are not read. Raises FileNotFoundError if one has no record."""
    return pd.DataFrame([_row(read(path_of(run, folder))) for run in runs])


def _row(record: dict) -> dict:
    made = {"seconds": record["seconds"]["fit"], "device": record["device"], "date": record["date"]}
    names = {"method": run_of(record).label, "base": record["run"]["method"], "stale": ", ".join(stale(record))}
    made |= {"settings": record["settings"], "selection": record["selection"], "source": record["data"]["source"]}
    made |= {"cut_epochs": record.get("cut", {}).get("epochs")}
    made |= {"exposure_images": record["images"].get("exposure"), "test_images": record["images"]["test"]}
    made |= {"score_seconds": record["seconds"]["score"], "threads": record.get("arithmetic", {}).get("threads", 1)}
    return {**record["run"], **names, **record["metrics"], **made, "code": record["code"]["sha256"][:12]}


def lost(table: Path, folder: Path = FRESH) -> list[str]:
    """The runs in a table, written as CSV, whose records have been removed or damaged since."""
    with Path(table).open(encoding="utf-8", newline="") as file:
        names = [row["id"] for row in csv.DictReader(file)]
    return [name for name in names if not _whole(Path(folder) / f"{name}.json")]


def _whole(path: Path) -> bool:
    try:
        return bool(read(path))
    except (FileNotFoundError, ValueError):
        return False


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value


def commit() -> str:
    """The git commit of this checkout, with ``+`` if files differ from it; "unknown" where the code is in no repository
    of its own: a repository around it, as a course has one, says nothing about it."""
    # Without locks: several processes may ask at once. What git tells its hooks in GIT_* is about their repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(CHECKOUT.resolve().parent)

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        told = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
        return told.stdout.strip()

    try:
        git("cat-file", "-e", "HEAD:fcdd_study/records.py")
        return git("describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    names = ("torch", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}

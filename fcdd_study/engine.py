"""Runs a list of runs, many at once where they share an architecture, writes their records, keeps what is current."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from . import hashes, protocol, records, resume


def run_all(runs: list[protocol.Run], device: str = "auto", folder=records.FRESH) -> pd.DataFrame:
    """Executes the runs whose record is missing or stale and returns the table of all of them.

    Several processes may do so at once: none begins what another is at, but comes back to it at the end, and then runs
    only what is still missing. A run that fails does not stop the others; at the end all failures are raised together
    as one RuntimeError.
    """
    waiting = [run for run in runs if not records.is_current(run, folder)]
    if not waiting:
        return records.table_of(runs, folder)
    failures, tried, busy = {}, set(), set()
    with tqdm(total=len(waiting), desc=f"{runs[0].profile} runs", unit="run", leave=False) as bar:
        for patience in (0, -1):  # seconds; -1: until the other one ends
            left = [run for run in waiting if run.id not in tried and not records.is_current(run, folder)]
            for group in groups(left):
                name = f"{group[0].dataset} {group[0].label}"
                bar.set_postfix_str(f"{group[0].label}, {group[0].normal}, seed {group[0].seed}")
                try:
                    failures |= _run_locked(group, device, folder, patience)
                except Timeout:
                    if name not in busy:
                        tqdm.write(f"another process is at {name}; back to it at the end", file=sys.stderr)
                    busy.add(name)
                    continue
                tried |= {run.id for run in group}
                bar.update(len(group))
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(waiting)} runs failed:\n{_listed(failures)}") from next(
            iter(failures.values())
        )
    return records.table_of(runs, folder)


def groups(runs: list[protocol.Run]) -> list[list[protocol.Run]]:
    """The runs, those of one group (:func:`fcdd_study.protocol.group_of`) together."""
    found = {}
    for run in runs:
        found.setdefault(protocol.group_of(run)[0].id, []).append(run)
    return list(found.values())


def _run_locked(group: list[protocol.Run], device: str, folder, patience: float) -> dict[str, Exception]:
    """Runs a group as the only process at its method and data set; returns the failures.

    The lock goes when its process does, however that ends. Raises filelock.Timeout if another holds it that long.
    """
    place = records.path_of(group[0], folder).parent
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock", timeout=patience):
        for left_by_a_kill in place.glob(".*.part*"):
            left_by_a_kill.unlink(missing_ok=True)
        return _execute(group, device, folder)


def _execute(wanted: list[protocol.Run], device: str, folder, **alone) -> dict[str, Exception]:
    """Runs those of a group that are wanted and not current, and writes their records and those of the runs that they
    share a stack with; returns the failures.

    If the group fails, its runs are tried one by one; the record then names no other in its stack.
    """
    wanted = [run for run in wanted if not records.is_current(run, folder)]
    try:
        for record in execute_all(wanted, device, **alone) if wanted else []:
            if not records.is_current(records.run_of(record), folder):
                records.write(record, folder)
            resume.forget(records.run_of(record))
    except Exception as error:
        if alone or len(protocol.group_of(wanted[0])) == 1:
            if not isinstance(error, (ValueError, OSError)):  # no message to a reader: say where it came from
                traceback.print_exception(error)
            return {wanted[0].id: error}
        parts = [_execute([run], device, folder, alone=True) for run in wanted]
        return {name: error for part in parts for name, error in part.items()}
    return {}


def execute(run: protocol.Run, device: str = "auto") -> dict:
    """Trains and evaluates one run, with the stack that it belongs to; returns its record (see records.py)."""
    return next(record for record in execute_all([run], device) if record["run"]["id"] == run.id)


def execute_all(wanted: Sequence[protocol.Run], device: str = "auto", alone: bool = False) -> Iterator[dict]:
    """Trains runs of one group and what shares a stack with them (:func:`fcdd_study.protocol.train`); yields the record
    of each as soon as it is done. Raises RuntimeError if the code behind it changes meanwhile."""
    for run in wanted:
        _refuse_changed(run)
    return (_record(trained) for trained in protocol.train(wanted, device, alone, resume.watched))


def _record(trained: protocol.Trained) -> dict:
    run, data, model, outliers, seconds, stack = trained
    measured, scored = protocol.evaluate(model, data)
    _refuse_changed(run)
    images, history = {"train": len(data.train), "test": len(data.test)}, list(getattr(model, "history_", []))
    seconds, cut = resume.told(run, len(history), seconds)
    return {
        "schema": records.SCHEMA_VERSION,
        "run": asdict(run) | {"id": run.id, "changes": dict(run.changes)},
        "settings": run.settings | getattr(model, "halved_", {}),  # then it is stale, and never counts as the profile's
        "selection": run.selection,
        "metrics": measured,
        "history": history,
        "images": images if outliers is None else images | {"exposure": len(outliers)},
        "data": {"sha256": hashes.of_data(data, outliers), "source": _public(data.source)},
        "code": {"sha256": hashes.of_run(run), "commit": records.commit()},
        "device": str(getattr(model, "device_", "cpu")),
        "arithmetic": arithmetic(model),
        "stack": [member.id for member in stack],
        **cut,
        "versions": records.versions(),
        "seconds": {"fit": seconds, "score": scored},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _refuse_changed(run: protocol.Run) -> None:
    """Raises RuntimeError if the code behind a run is no longer what it was when this process first asked for it: some
    was imported before the change, some after it, and no hash is that of both."""
    if not hashes.still(run):
        raise RuntimeError("its code changed while this process ran; run it again")


def redo(record: dict, device: str = "auto") -> dict:
    """Trains the run of a record again, and says how far it comes out as it was: ``equal`` if metrics, history and
    images are, bit for bit; the largest difference of a metric, and that of the last epoch's loss."""
    run = records.run_of(record)
    again = execute(run, device)
    apart = {name: abs(again["metrics"][name] - value) for name, value in record["metrics"].items()}
    losses = [each["history"][-1] for each in (record, again) if each["history"]]
    return {
        "run": run.id,
        "recorded": f"{record['device']}, {record['arithmetic']['training']}",
        "again": f"{again['device']}, {again['arithmetic']['training']}",
        "equal": all(again[key] == record[key] for key in ("metrics", "history", "data")),
        "auroc": record["metrics"]["auroc"],
        "auroc again": again["metrics"]["auroc"],
        "largest difference": max(apart.values()),
        "loss": abs(losses[0] - losses[-1]) if losses else 0.0,
        "seconds": again["seconds"]["fit"],
    }


def arithmetic(model) -> dict:
    """In what a fitted detector's network was trained, which differs from machine to machine, what the CPU can, and how
    many of its cores were used."""
    import torch

    from fcdd.training import mixed_precision

    here = {"cpu": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    if not hasattr(model, "history_"):
        return {"training": "no network"} | here
    device = torch.device(model.device_)
    with mixed_precision(device):
        half = torch.is_autocast_enabled(device.type)
    return {"training": "bfloat16 autocast" if half else "float32"} | here


def _public(source: str) -> str:
    """A source without the folders of this machine in front, fit to be committed."""
    return Path(source).name if Path(source).is_absolute() else source


def _listed(failures: dict[str, Exception]) -> str:
    """One line for each message: the first run that failed with it, and how many others did."""
    alike = {}
    for name, error in failures.items():
        alike.setdefault(f"{type(error).__name__}: {error}", []).append(name)
    return "\n".join(
        f"- {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {text}"
        for text, names in alike.items()
    )

"""Runs a list of runs, many at once where they share an architecture, and keeps what is current."""

import itertools

import pandas as pd
from tqdm import tqdm

from . import protocol, records

TOGETHER = 10  # runs that are trained as one: a kill loses those under way


def run_all(runs: list[protocol.Run], device: str = "auto", folder=records.FRESH) -> pd.DataFrame:
    """Executes the runs whose record is missing or stale and returns the table of all of them.

    A run that fails does not stop the others; at the end all failures are raised together as one RuntimeError.
    """
    waiting = [run for run in runs if not records.is_current(run, folder)]
    failures = {}
    with tqdm(total=len(waiting), desc=f"{runs[0].profile} runs", unit="run", leave=False) as bar:
        for group in groups(waiting):
            bar.set_postfix_str(f"{group[0].label}, {group[0].normal}, seed {group[0].seed}", refresh=False)
            failures |= _execute(group, device, folder)
            bar.update(len(group))
    if failures:
        listed = "\n".join(f"- {name}: {error!r}" for name, error in failures.items())
        raise RuntimeError(f"{len(failures)} of {len(waiting)} runs failed:\n{listed}") from next(
            iter(failures.values())
        )
    table = records.table(folder, runs[0].profile, runs[0].dataset)
    return table.set_index("id", drop=False).loc[[run.id for run in runs]].reset_index(drop=True)


def groups(runs: list[protocol.Run]) -> list[list[protocol.Run]]:
    """Runs that follow each other and differ only in class and seed, at most ``TOGETHER``; others one by one."""
    found = []
    for key, members in itertools.groupby(runs, lambda run: (run.dataset, run.method, run.profile, run.changes)):
        alone = protocol.METHODS[key[1]].module != "detectors"
        members, size = list(members), 1 if alone else TOGETHER
        found += [members[start : start + size] for start in range(0, len(members), size)]
    return found


def _execute(group: list[protocol.Run], device: str, folder) -> dict[str, Exception]:
    """Runs a group and writes its records; returns the failures. If a group fails, its runs are tried one by one."""
    try:
        for record in protocol.execute_all(group, device):
            records.write(record, folder)
    except Exception as error:
        if len(group) == 1:
            return {group[0].id: error}
        parts = [_execute([run], device, folder) for run in group]
        return {name: error for part in parts for name, error in part.items()}
    return {}

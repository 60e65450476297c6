"""Runs a list of runs one after another, keeps what is current, and tells how long the rest takes."""

import pandas as pd
from tqdm import tqdm

from . import protocol, records


def run_all(runs: list[protocol.Run], device: str = "auto", folder=records.FRESH) -> pd.DataFrame:
    """Executes the runs whose record is missing or stale and returns the table of all of them.

    A run that fails does not stop the others; at the end all failures are raised together as one RuntimeError.
    """
    waiting = [run for run in runs if not records.is_current(run, folder)]
    failures = {}
    with tqdm(waiting, desc=f"{runs[0].profile} runs", unit="run", leave=False) as bar:
        for run in bar:
            bar.set_postfix_str(f"{run.method}, {run.normal}, seed {run.seed}", refresh=False)
            try:
                records.write(protocol.execute(run, device), folder)
            except Exception as error:
                failures[run.id] = error
    if failures:
        listed = "\n".join(f"- {name}: {error!r}" for name, error in failures.items())
        raise RuntimeError(f"{len(failures)} of {len(waiting)} runs failed:\n{listed}") from next(
            iter(failures.values())
        )
    table = records.table(folder, runs[0].profile)
    return table.set_index("id", drop=False).loc[[run.id for run in runs]].reset_index(drop=True)

"""Long trainings: a checkpoint that a killed one goes on from, and a limit of hours over all its parts.

Runs of a profile with ``hours`` have both. Taught in: chapter 08.
"""

import time
from pathlib import Path

from fcdd.files import whole

from . import hashes, protocol, records


class Clock:
    """Called after each epoch: keeps in ``file`` the seconds that training took so far, and ends it after ``hours``."""

    def __init__(self, file: Path, hours: float):
        self.file, self.limit = file, 3600 * hours
        self.before, self.began = spent(file), time.perf_counter()

    def __call__(self, detector, epoch, loss) -> bool:
        now = self.before + time.perf_counter() - self.began
        with whole(self.file) as partial:
            partial.write_text(repr(now), encoding="utf-8")
        return now >= self.limit


def spent(file: Path) -> float:
    """Seconds that a training took so far."""
    return float(file.read_text(encoding="utf-8")) if file.exists() else 0.0


def watched(run: protocol.Run) -> dict:
    """What ``fit`` is told of a run: nothing, or its checkpoint and its :class:`Clock`."""
    if (hours := limit(run)) is None:
        return {}
    checkpoint, seconds = files(run)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        seconds.unlink(missing_ok=True)  # a clock without a checkpoint is of a training that is lost
    return {"checkpoint": checkpoint, "callbacks": [Clock(seconds, hours)]}


def limit(run: protocol.Run) -> float | None:
    """The hours that the run's training may take, None: as many as it does."""
    return protocol.profile(run.profile, run.dataset)["hours"]


def files(run: protocol.Run) -> tuple[Path, Path]:
    """The checkpoint of a run and the file of its clock; other code or settings have others."""
    place = records.ROOT / "_build" / "checkpoints" / f"{run.id}-{hashes.of_run(run)[:12]}"
    return place.with_name(f"{place.name}.pt"), place.with_name(f"{place.name}.seconds")


def forget(run: protocol.Run) -> None:
    """Removes what is left of a run that is recorded."""
    checkpoint, seconds = files(run)
    for file in (seconds, *checkpoint.parent.glob(f"{checkpoint.name}*")) if limit(run) is not None else ():
        file.unlink(missing_ok=True)


def told(run: protocol.Run, epochs: int, seconds: float) -> tuple[float, dict]:
    """Seconds of a training of so many ``epochs``, its earlier parts counted, and what its record says of a cut."""
    hours, asked = limit(run), (protocol.defaults(run.method) | run.settings).get("epochs")
    if hours is None:
        return seconds, {}
    return max(seconds, spent(files(run)[1])), {"cut": {"epochs": epochs, "hours": hours}} if epochs < asked else {}

"""What a reader sees of a build: one line with what runs, how many jobs remain and the time left; failures at the end.

Snakemake logs an event for each thing that happens; this reads them, in place of the words it would print itself.
"""

import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

BAR = re.compile(rb"(\d+)/(\d+) \[")  # tqdm's, in the log of a job: runs done, runs to do
NOTHING = "(nothing: it was ended before it could say why)"
SEE_THE_LOG = "For further error details"  # what Snakemake adds to each message of a batch system
KEPT = "kept: jobs that had ended ({done}) and each record in _build/records; the same command goes on from there"
# Snakemake's own words on failures, of which the report says more.
AFTER = "At least one job did not complete successfully", "Exiting because a job execution failed"


@dataclass
class Job:
    """One that runs: what it is about, the file that it makes, its log, and when it began."""

    about: str
    makes: str
    log: str
    began: float

    def done(self) -> tuple[int, int] | None:
        """Runs done and to do, as its log tells; None if that counts nothing."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, Path(self.log).stat().st_size - 2000))
                found = BAR.findall(file.read())
        except OSError:
            return None
        return (int(found[-1][0]), int(found[-1][1])) if found else None

    def __str__(self) -> str:
        done = self.done()
        return f"{self.about} ({done[0]} of {done[1]} runs)" if done else self.about


@dataclass
class Failure:
    """A job that failed: its log, and what the batch system said of it ("" if there is none), in its own log, too."""

    log: str
    reason: str
    more: str = ""


class Progress(logging.Handler):
    """Follows a build by its events. ``planned`` gives, when it begins, the files that it is to make; ``seconds`` is a
    file that keeps how long each took, for the next build's estimate."""

    def __init__(self, planned: Callable[[], list[str]], seconds: Path, console: Console | None = None):
        super().__init__()
        self.planned, self.kept, self.console = planned, seconds, console or Console(stderr=True, highlight=False)
        self.before = _read(seconds)
        self.now: dict[str, float] = {}  # what took how long in this build
        self.to_make: set[str] = set()
        self.running: dict[int, Job] = {}
        self.failed: list[Failure] = []
        self.started, self.most, self.interrupted = 0, 1, False
        self.live = Live(get_renderable=self._line, console=self.console, refresh_per_second=1, transient=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(str(getattr(record, "event", None) or ""), record)
        except Exception:
            self.handleError(record)

    def _take(self, event: str, record) -> None:
        if event == "run_info":
            self.to_make = set(self.planned())
            if self.console.is_terminal:
                self.live.start()
        elif event == "job_info" and record.output:
            self.running[record.jobid] = job = Job(record.rule_msg, record.output[0], "".join(record.log[:1]), _now())
            self.started, self.most = self.started + 1, max(self.most, len(self.running))
            self._say(job.about)
        elif event == "job_finished" and record.job_id in self.running:
            job = self.running.pop(record.job_id)
            self.now[job.makes] = round(_now() - job.began, 1)
            self.to_make.discard(job.makes)
        elif event == "job_error":
            if job := self.running.pop(record.jobid, None):
                self.to_make.discard(job.makes)
            if self.interrupted:  # it ended because it was told to
                return
            reason, more = (record.rule_msg or "").partition(SEE_THE_LOG)[0], "".join(map(str, record.log[1:2]))
            self.failed.append(Failure("".join(record.log[:1]), reason, more))
        elif "Nothing to be done" in str(record.msg):
            self.console.print("nothing to be done: all is up to date (make why says more)")

    def _say(self, about: str) -> None:
        """A line for what begins, where there is no terminal to hold a line that changes."""
        if not self.console.is_terminal:
            self.console.print(f"{about} ({self.counted()})", soft_wrap=True)

    def _line(self) -> Text:
        running = ", ".join(map(str, list(self.running.values()))) or "starting"
        return Text(f"{running} · {self.counted()}", overflow="ellipsis", no_wrap=True)

    def counted(self) -> str:
        """How many jobs remain, and for how long."""
        seconds = self.left()
        time_left = "" if seconds is None else f", {spoken(seconds)} left"
        return f"{len(self.to_make)} of {len(self.to_make) + len(self.now) + len(self.failed)} to do{time_left}"

    def left(self) -> float | None:
        """Seconds that are left, by what each job took in this build or the last one, else by their mean; None if
        nothing is known yet. Of as many at once as there were."""
        known = self.before | self.now
        if not known:
            return None
        usual = sum(known.values()) / len(known)
        running = {job.makes: _rest(job, known.get(job.makes, usual)) for job in list(self.running.values())}
        rest = [running.get(file, known.get(file, usual)) for file in list(self.to_make)]
        return max([sum(rest) / self.most, *running.values()], default=0)

    def close(self) -> None:
        """Ends the line, and keeps what the jobs took."""
        self.live.stop()
        if self.now:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            self.kept.write_text(json.dumps(self.before | self.now, indent=1))
        super().close()

    def interrupt(self) -> None:
        """Says that Ctrl-C came; what ends without success from now on has not failed."""
        self.interrupted = True
        self.live.stop()
        self.console.print("\ninterrupted; what runs is being ended, which takes some seconds")

    def report(self) -> list[str]:
        """What failed, why, and where more is to be read; and what is kept if it was interrupted."""
        lines = (
            [f"of {self.started} jobs {len(self.failed)} failed; what the others made is kept:"] if self.failed else []
        )
        for failure in self.failed:
            lines += ["", f"{failure.log} ends with", *(f"  {line}" for line in last_words(failure))]
        return [*lines, *([""] if lines else []), KEPT.format(done=len(self.now))] if self.interrupted else lines


def _read(seconds: Path) -> dict[str, float]:
    try:
        return json.loads(seconds.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def follow(logger: logging.Logger, progress: Progress) -> None:
    """Lets ``progress`` speak in place of Snakemake, of which only warnings and errors are left."""
    for handler in logger.handlers:
        handler.addFilter(lambda record: _is_for_people(record))
    logger.addHandler(progress)


def _is_for_people(record: logging.LogRecord) -> bool:
    event = getattr(record, "event", None)
    return record.levelno >= logging.WARNING and event is None and not any(words in str(record.msg) for words in AFTER)


def last_words(failure: Failure) -> list[str]:
    """What a job said in the end: its error, or its last line if it was ended before it could say one, and then what
    the batch system says of it."""
    path = Path(failure.log)
    text = path.read_text(errors="replace") if path.is_file() else ""
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()] or [NOTHING]
    said = lines[next((k for k, line in enumerate(lines) if line.startswith("error: ")), -1) :]
    return [*said, *failure.reason.splitlines(), *([f"more in {failure.more}"] if failure.more else [])]


def spoken(seconds: float) -> str:
    """A time as people say it: "about 6 min"."""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {round(minutes / 60)} h"


def _rest(job: Job, expected: float) -> float:
    spent, done = _now() - job.began, job.done()
    if done and 0 < done[0] <= done[1]:
        return spent / done[0] * (done[1] - done[0])
    return max(expected - spent, 0.0)


def _now() -> float:
    return time.monotonic()

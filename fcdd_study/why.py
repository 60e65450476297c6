"""What `make why` says: each job that would run, in the order in which it would, with its reason in plain words.

Snakemake's dry run logs an event for each job; this reads them, in place of the words it would print itself.
"""

import logging
import re
from collections.abc import Callable

REASONS = {
    "Missing output files": "not made yet",
    "Incomplete output files": "it was cut off",
    "Updated input files": "changed: {}",
    "Input files updated by another job": "what it is made from is made again",
    "Set of input files has changed since last execution": "made from other files than before",
    "Code has changed since last execution": "its command has changed",
    "Params have changed since last execution": "{}",
}
PARAMS = re.compile(r"before: (.*) now: (.*)", re.DOTALL)
SHA256 = re.compile(r"""(, *)?['"]?[0-9a-f]{64}['"]?""")
LONGEST = 200  # characters of what was before, and of what is now


class Why(logging.Handler):
    """Follows a dry run by its events. ``runs_of`` gives of a job (its rule, its wildcards) how many runs it has and
    how many of them are left to do; None if it trains nothing."""

    def __init__(self, runs_of: Callable[[str, dict], tuple[int, int] | None]):
        super().__init__()
        self.runs_of, self.jobs, self.nothing = runs_of, [], False

    def emit(self, record: logging.LogRecord) -> None:
        if "Nothing to be done" in str(record.msg):
            self.nothing = True
        elif str(getattr(record, "event", None) or "") == "job_info" and record.output:
            runs = self.runs_of(record.rule_name, dict(record.wildcards or {}))
            self.jobs.append((record.priority, record.rule_msg, runs, plain(record.reason)))

    def report(self) -> list[str]:
        """Lines: the jobs, and what they are in all."""
        if self.nothing:
            return ["Nothing to be done: all is up to date"]
        if not self.jobs:
            return []
        ordered = sorted(self.jobs, key=lambda job: -job[0] if isinstance(job[0], int | float) else 0)
        counted = [job[2] for job in ordered if job[2] is not None]
        whole, left = (sum(each[k] for each in counted) for k in (0, 1))
        total = f"{len(ordered)} jobs would run" + (f", with {left} of {whole} runs to do" if counted else "")
        return [*map(line, ordered), "", f"{total}; nothing was touched"]


def line(job: tuple) -> str:
    """What a job is about, how many runs are left, and why it would run."""
    _, about, runs, reason = job
    return f"{about}{f' ({runs[1]} of {runs[0]} runs to do)' if runs else ''}: {reason}"


def plain(reason: str) -> str:
    """Snakemake's reason in the reader's words; as it is where it is none of :data:`REASONS`."""
    told = []
    for part in reason.split("; "):
        known = next((words for words in REASONS if part.startswith(words)), None)
        rest = part.partition(": ")[2]
        if known and known.startswith("Params"):
            rest = _params(rest)
        told.append(REASONS[known].format(rest) if known else part)
    return "; ".join(told)


def _params(text: str) -> str:
    """What of a job's parameters is other than before: hashes say only that contents are."""
    found = PARAMS.search(text)
    before, now = (SHA256.sub("", each).strip(" ,") for each in found.groups()) if found else ("", "")
    changed = "the contents behind it have changed" if SHA256.search(text) else ""
    other = f"was {_short(before)}, is {_short(now)}" if before or now else ""
    return "; ".join(filter(None, (changed, other))) or "its settings have changed"


def _short(text: str) -> str:
    text = "nothing" if text in ("", "<nothing exclusive>") else text
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"

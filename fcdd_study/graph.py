"""Snakemake as `make` calls it: an interrupt ends it in a line, and what a kill left half-written is removed.

``python -m fcdd_study.graph book …`` is ``python -m snakemake book …``, but that Ctrl-C shows no traceback, from the
first import on.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

INTERRUPTED = 130  # the exit code of what Ctrl-C ended
# What only the graph writes. Records and checkpoints have locks of their own, and may be another process's.
ROOMS = ("runs", "ablations", "chapters", "demos")


def main() -> None:
    """Snakemake's command line; an interrupt before its Snakefile is read ends the process: nothing was begun."""
    on_interrupt(_leave)
    from snakemake.cli import main as snakemake

    snakemake()


def on_interrupt(handler: Callable) -> None:
    """Lets ``handler`` (number, frame) take Ctrl-C, unless the process was started to ignore it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def once(told: Callable[[], None]) -> Callable:
    """A handler that calls ``told`` and interrupts at the first Ctrl-C, and passes over the others: the jobs have them,
    too, and whoever waits for their end must not be cut off."""
    seen = []

    def interrupted(number, frame):
        if not seen:
            seen.append(number)
            told()
            raise KeyboardInterrupt

    return interrupted


def remove_halves(build: Path) -> None:
    """Removes half-written files that a killed build left; to be called by a build that holds the lock."""
    for room in ROOMS:
        for pattern in (".*.part*", "*.part.ipynb"):
            for left in (build / room).rglob(pattern):
                left.unlink(missing_ok=True)


def _leave(number, frame) -> None:
    print("\ninterrupted; nothing was begun", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()

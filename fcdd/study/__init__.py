"""The study: runs, their records, and the chapters made from them. Taught in: chapter 08."""

from .chapters import begin
from .protocol import METHODS, Run, classes, detector, profile, run, runs, settings, split
from .records import COMMITTED, FRESH, table

__all__ = [
    "COMMITTED",
    "FRESH",
    "METHODS",
    "Run",
    "begin",
    "classes",
    "detector",
    "ensure",
    "profile",
    "published",
    "run",
    "runs",
    "settings",
    "split",
    "table",
]


def ensure(profile_name: str, methods=None, nominal=None, device: str = "auto"):
    """The table of a profile's fresh records, after running those that are missing or stale."""
    from .engine import run_all

    return run_all(runs(profile_name, methods, nominal), device=device)


def published():
    """The papers' tables in data/published.yml as one table: dataset, method, normal, auroc, source, confidence."""
    from .verdicts import published as read

    return read()

"""The study: runs, their records, and the chapters made from them. Taught in: chapter 08."""

from .chapters import begin
from .protocol import METHODS, Run, ablation, classes, data_sets, detector, profile, run, runs, settings, split
from .records import COMMITTED, FRESH, table

__all__ = [
    "COMMITTED",
    "FRESH",
    "METHODS",
    "Run",
    "ablation",
    "begin",
    "classes",
    "data_sets",
    "detector",
    "ensure",
    "profile",
    "published",
    "run",
    "runs",
    "settings",
    "side_by_side",
    "split",
    "table",
]


def ensure(profile_name: str, methods=None, nominal=None, device: str = "auto", dataset: str | None = None):
    """The table of a profile's fresh records on one data set (None: its first), after running those that are missing
    or stale."""
    from .engine import run_all

    return run_all(runs(profile_name, methods, nominal, dataset), device=device)


def published(measure: str | None = "auroc"):
    """The papers' tables in data/published.yml as one table: dataset, method, setting, normal, value, source, …

    ``measure``: auroc, pixel_auroc or image_auroc; None: all.
    """
    from .verdicts import published as read

    return read(measure)


def side_by_side(first, second):
    """Two tables of runs by method and class: columns method, normal, first, second (mean AUROC over seeds)."""
    from .verdicts import side_by_side as compare

    return compare(first, second)

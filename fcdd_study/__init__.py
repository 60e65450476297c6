"""The study: runs, their records, and the chapters made from them. Taught in: chapter 08."""

from importlib import import_module

# Imported on first use: `fcdd fit` starts at once, and needs no package that only the study and the book need.
_PUBLIC = {
    ".chapters": ["begin"],
    ".protocol": [
        *("METHODS", "Run", "ablation", "classes", "data_sets", "detector"),
        *("profile", "run", "runs", "settings", "split"),
    ],
    ".records": ["COMMITTED", "FRESH", "table"],
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = [*_HOME, "ensure", "published", "side_by_side"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module 'fcdd_study' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def ensure(profile_name: str, methods=None, nominal=None, device: str = "auto", dataset: str | None = None):
    """The table of a profile's fresh records on one data set (None: its first), after running those that are missing
    or stale."""
    from .engine import run_all
    from .protocol import runs

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

"""The old name, for one version, of :mod:`fcdd.figures` and of the book's figures, ``fcdd_study.figures``."""

import warnings
from importlib import import_module
from pkgutil import iter_modules


def __getattr__(name: str):
    if not name.startswith("__"):
        study = import_module("fcdd_study.figures")
        for home in ("fcdd.figures", *(module.name for module in iter_modules(study.__path__, study.__name__ + "."))):
            if hasattr(module := import_module(home), name):
                found = getattr(module, name)
                now = f"{getattr(found, '__module__', home)}.{name}"
                warnings.warn(f"fcdd.plots.{name} is now {now}; fcdd.plots is dropped in the next version",
                              DeprecationWarning, stacklevel=2)  # fmt: skip
                return found
    raise AttributeError(f"module 'fcdd.plots' has no attribute {name!r}; see fcdd.figures")

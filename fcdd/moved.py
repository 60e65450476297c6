"""Modules that have moved since version 0.1: their old names work for one version, and warn with the new ones."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_DRAWN = ["shared", "style", "ch00_anomalies", "ch01_svdd", "ch02_deep_svdd", "ch03_deep_sad", "ch04_hsc", "ch05_fcdd"]
_DRAWN += ["ch06_localisation", "ch07_clever_hans", "ch08_study", "ch09_beyond"]
MOVED = {  # old name → where its contents are now; CHANGELOG.md lists the same
    "fcdd.baselines": ["fcdd_study.baselines"],
    "fcdd.datasets.defects": ["fcdd_study.defects"],
    "fcdd.datasets.imagenet": ["fcdd_study.imagenet"],
    "fcdd.datasets.omniglot": ["fcdd_study.omniglot"],
    "fcdd.datasets.voc": ["fcdd_study.voc"],
    "fcdd.datasets.textures": ["fcdd_study.textures"],
    "fcdd.export": ["fcdd.scores", "fcdd.onnx"],
    "fcdd.plots": ["fcdd.figures", *(f"fcdd_study.figures.{name}" for name in _DRAWN)],
    "fcdd.study": ["fcdd_study"],
    "fcdd.study.code": ["fcdd_study.hashes"],  # after what it is below
    "fcdd.study.protocol": ["fcdd_study.protocol", "fcdd_study.engine"],
    "fcdd.watermark": ["fcdd_study.watermark"],
}


class OldNames(MetaPathFinder, Loader):
    """Finds the modules in ``MOVED``, and what was below them, after all that are really there."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _homes(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        homes = [import_module(home) for home in _homes(module.__name__)]

        def forward(name: str):
            for home in homes:
                if not name.startswith("__") and hasattr(home, name):
                    new = f"{home.__name__}.{name}"
                    text = f"{module.__name__}.{name} is now {new}; the old name is dropped in the next version"
                    warnings.warn(text, DeprecationWarning, stacklevel=2)
                    return getattr(home, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}; see {homes[0].__name__}")

        module.__dict__["__getattr__"] = forward


def _homes(old: str) -> list[str]:
    above = [name for name in MOVED if old == name or old.startswith(f"{name}.")]
    return [home + old.removeprefix(name) for name in above[-1:] for home in MOVED[name]]


sys.meta_path.append(OldNames())

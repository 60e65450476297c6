"""Deep one-class classification, from SVDD over Deep SVDD, Deep SAD and HSC to FCDD.

>>> import fcdd
>>> split = fcdd.datasets.load("fashion-mnist-small", normal="Ankle boot")
>>> detector = fcdd.FCDD(epochs=1, network="fcdd_cnn28").fit(split.train.images)
>>> detector.anomaly_map(split.test.images[:3]).shape
(3, 28, 28)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import moved as moved

if TYPE_CHECKING:
    from . import (  # noqa: I001
        augment, calibration, datasets, detectors, explain, exposure, features, figures, honesty, many, metrics,
        networks, objectives, onnx, patches, receptive, recipes, svdd, training,
    )  # fmt: skip
    from .detectors import FCDD, HSC, Autoencoder, DeepSAD, DeepSVDD
    from .patches import PatchNeighbours
    from .svdd import SVDD

__version__ = "0.1.0"
__all__ = [
    "FCDD", "HSC", "SVDD", "Autoencoder", "DeepSAD", "DeepSVDD", "PatchNeighbours", "calibration",
    "augment", "datasets", "detectors", "explain", "exposure", "features", "figures", "metrics", "networks",
    "honesty", "load", "many", "objectives", "onnx", "patches", "receptive", "recipes", "svdd", "training",
]  # fmt: skip

_HOME = dict.fromkeys(("DeepSVDD", "DeepSAD", "HSC", "FCDD", "Autoencoder"), "detectors")
_HOME |= {"SVDD": "svdd", "PatchNeighbours": "patches"}


def load(path):
    """The detector in a file that its ``save`` wrote, of whatever class, on the CPU.

    Raises FileNotFoundError; ValueError if the file is none of ours or damaged.
    """
    from . import detectors, patches, svdd, tiled  # noqa: F401  so that their classes are known
    from .scores import load

    return load(path)


if not TYPE_CHECKING:  # a type checker shall know the names above and no others

    def __getattr__(name: str):
        """Imports on first use: PyTorch takes seconds, and the command line and the graph of runs rarely need it."""
        if name in _HOME:
            return getattr(import_module(f"fcdd.{_HOME[name]}"), name)
        if not name.startswith("_"):
            try:
                return import_module(f"fcdd.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"fcdd.{name}":  # the module is there, something that it needs is not
                    raise
        raise AttributeError(f"module 'fcdd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

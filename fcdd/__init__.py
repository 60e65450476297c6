"""Deep one-class classification, from SVDD over Deep SVDD, Deep SAD and HSC to FCDD.

>>> import fcdd
>>> split = fcdd.datasets.load("fashion-mnist-small", normal="Ankle boot")
>>> detector = fcdd.FCDD(epochs=1, network="fcdd_cnn28").fit(split.train.images)
>>> detector.anomaly_map(split.test.images[:3]).shape
(3, 28, 28)
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["FCDD", "HSC", "SVDD", "Autoencoder", "DeepSAD", "DeepSVDD", "datasets", "figures", "metrics", "objectives"]

_HOME = {"SVDD": ".svdd"} | dict.fromkeys(("DeepSVDD", "DeepSAD", "HSC", "FCDD", "Autoencoder"), ".detectors")


def __getattr__(name: str):
    """Imports on first use: PyTorch takes seconds, and the command line and the graph of runs rarely need it."""
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        raise AttributeError(f"module 'fcdd' has no attribute {name!r}") from error

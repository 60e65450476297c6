"""Methods by name, as the command line, the study and the chapters call them: the one place where they are made.

What depends on the images is "auto" (:mod:`fcdd.auto`), and resolved in ``fit``. Taught in: chapter 06.
"""

from . import detectors, patches, svdd
from .checks import check_option

METHODS = {
    "fcdd": detectors.FCDD,
    "patches": patches.PatchNeighbours,
    "hsc": detectors.HSC,
    "deep-svdd": detectors.DeepSVDD,
    "deep-sad": detectors.DeepSAD,
    "autoencoder": detectors.Autoencoder,
    "svdd": svdd.SVDD,
}
# On layers that are not trained from scratch, for all of the epochs at one rate.
FROZEN = {"augmentation": "parts", "batch_size": 16, "optimizer": "adam", "learning_rate": 1e-3, "decay": 1.0}
FROZEN |= {"epochs": 30}
# On layers whose weights are brought along: what chapter 06 found.
PRETRAINED = FROZEN | {"objective": "pixels", "exposure": "confetti", "sigma": 12.0, "weight_decay": 1e-4}


def detector(method: str = "fcdd", shape: tuple[int, int, int] | None = None, **overrides):
    """The detector that is called ``method``, not fitted, with the settings for images of ``shape`` (C, H, W).

    ``overrides``: parameters of its constructor, which win. Raises ValueError for an unknown method.
    """
    check_option("method", method, METHODS)
    settings = PRETRAINED if method == "fcdd" and (overrides.get("network_options") or {}).get("weights") else {}
    if method == "hsc" and shape is not None and min(shape[1:]) >= 64:
        settings = FROZEN | {"network": "hsc_mobilenet"}
    return METHODS[method](**settings | overrides)

"""What "auto" stands for: settings of a detector that depend on the images that it is fitted to.

Numbers of the feature recipe were chosen on good images with drawn defects (``benchmarks/choose_features.py``).
"""

from collections.abc import Mapping

FROM = 64  # px of the shorter side from which on pretrained features are used
# From scratch: the paper's settings for Fashion-MNIST.
SCRATCH = {"normalisation": "lcn", "exposure": "photographs", "sigma": 1.2, "top": None, "batch_size": 128}
SCRATCH |= {"learning_rate": 1e-2, "optimizer": "sgd", "decay": 0.98, "augmentation": True}
# A head on frozen features that are computed once.
FEATURES = {"network": "fcdd_mobilenet", "normalisation": "signed", "exposure": "feature-noise", "augmentation": False}
FEATURES |= {"sigma": 8.0, "top": 0.02, "batch_size": 16, "learning_rate": 2e-3, "optimizer": "adam", "decay": 0.85}


def resolve(given: Mapping, shape: tuple[int, int, int]) -> dict:
    """Of the parameters ``given`` those that are "auto", with their values for images of ``shape`` (C, H, W)."""
    asked = [name for name, value in given.items() if name in FEATURES and isinstance(value, str) and value == "auto"]
    network, side = given.get("network"), min(shape[1:])
    if "network" in asked:
        network = "fcdd_mobilenet" if side >= FROM else "fcdd_cnn28" if side < 32 else "fcdd_cnn32_s"
    recipe = SCRATCH | {"network": network}
    if network == "fcdd_mobilenet":
        recipe = FEATURES
        if given.get("exposure") not in ("auto", "feature-noise"):  # images are changed anew in each epoch
            recipe = FEATURES | {"augmentation": "parts", "learning_rate": 1e-3, "decay": 1.0}
    return {name: recipe[name] for name in asked}

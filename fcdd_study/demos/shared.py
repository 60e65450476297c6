"""What several figures that move begin with: a trained FCDD_CNN28 in numbers, pictures in bytes, heat in colours."""

from base64 import b64encode
from copy import deepcopy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from fcdd.figures import HEAT

from .. import protocol


def nominal_class(profile: str, wanted: str) -> str:
    """The class that a figure is about, or the last of a profile that leaves it out."""
    known = protocol.classes(profile)
    return wanted if wanted in known else known[-1]


def small_fcdd(profile: str, normal: str) -> protocol.Run:
    """The profile's FCDD with the network that fits on a page, and with fixed constants to standardise by: local
    contrast normalisation would let a stroke change all pixels (chapter 05)."""
    run = protocol.run(profile, "fcdd", normal)
    wanted = {"network": "fcdd_cnn28", "normalisation": "standard"}
    return replace(run, changes=tuple(item for item in wanted.items() if run.settings.get(item[0]) != item[1]))


def network(detector) -> dict:
    """A fitted FCDD with the network fcdd_cnn28 as book/demos/fcdd_cnn28.js takes it, numbers with six digits; batch
    normalisation is folded into the first convolution."""
    first, norm, _, _, second, _, head = deepcopy(detector.network_).cpu()
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    weights = first.weight * factor[:, None, None, None], second.weight, head.weight
    biases = (first.bias - norm.running_mean) * factor + norm.bias, second.bias, head.bias
    layers = [
        {"kernel": w.shape[-1], "weights": _short(w.flatten(2)), "biases": _short(b)}
        for w, b in zip(weights, biases, strict=True)
    ]
    constants = {"shift": detector.normalisation_.shift.item(), "scale": detector.normalisation_.scale.item()}
    return {"layers": layers, **constants, "field": detector.field_._asdict(), "sigma": detector._setting("sigma")}


def _short(tensor) -> list:
    return np.vectorize(lambda value: float(f"{value:.6g}"))(tensor.detach().numpy()).tolist()


def as_bytes(values) -> str:
    """Grey values 0 to 255, of any shape, as the text that ``fcddDemos.bytes`` reads."""
    return b64encode(np.asarray(values, np.uint8).tobytes()).decode()


def colours(steps: int = 64) -> list[list[int]]:
    """The colours of heatmaps from 0 to 1, as red, green and blue 0 to 255."""
    return (255 * plt.get_cmap(HEAT)(np.linspace(0, 1, steps))[:, :3]).round().astype(int).tolist()

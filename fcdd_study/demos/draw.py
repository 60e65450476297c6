"""A defect drawn on a real picture, and the map that answers. Taught in: chapter 05."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from fcdd.figures import HEAT, show_image

from .. import protocol
from .shared import as_bytes, colours, network, nominal_class, small_fcdd

STROKES = {  # (row, column) of pixels, and how bright they become
    "as it is": {},
    "a bright scratch": {(4 + k, 4 + k // 2 + side): 255 for k in range(16) for side in range(2)},
    "a dark hole": {(9 + i, 9 + j): 0 for i in range(4) for j in range(4)},
    "a speck of 2 × 2": {(4 + i, 3 + j): 255 for i in range(2) for j in range(2)},
}


def data(profile: str, device: str) -> dict:
    """The network of a run, the nominal test images whose scores are closest to the median, and the threshold."""
    run = small_fcdd(profile, nominal_class(profile, "Trouser"))
    ((_, split, detector, *_),) = protocol.train([run], device)
    images = split.test.images[~split.test.anomalous]
    scores = detector.anomaly_score(images)
    usual = np.argsort(np.abs(scores - np.median(scores)), kind="stable")[:4]
    return {
        "run": run.id,
        "normal": run.normal,
        "pictures": [as_bytes(images[i]) for i in usual],
        "strokes": {name: [[28 * r + c, tone] for (r, c), tone in s.items()] for name, s in STROKES.items()},
        "network": network(detector),
        "threshold": float(f"{-detector.offset_:.6g}"),
        "top": round(float(np.quantile(detector.anomaly_map(split.test.images), 0.97)), 2),
        "colours": colours(),
        "still": stroked(detector, images[usual[:1]], STROKES["a bright scratch"]),
    }


def stroked(detector, image, stroke: dict) -> list[dict]:
    """An image (1, 1, 28, 28) without and with a stroke: bytes of the picture, heatmap, score."""
    marked = image.clone()
    for (row, column), tone in stroke.items():
        marked[0, 0, row, column] = tone
    both = torch.cat([image, marked])
    maps, scores = detector.anomaly_map(both), detector.anomaly_score(both)
    parts = zip(both[:, 0].tolist(), maps, scores, strict=True)
    return [{"picture": picture, "heat": heat, "score": score} for picture, heat, score in parts]


def still(data: dict):
    """A picture and its heatmap, without a scratch and with one, on one scale."""
    figure, axes = plt.subplots(1, 4, figsize=(8.4, 2.7))
    for place, (shown, name) in enumerate(zip(data["still"], ("as it is", "with a scratch"), strict=True)):
        left, right = axes[2 * place : 2 * place + 2]
        show_image(left, np.array(shown["picture"], np.uint8)[None])
        drawn = right.imshow(shown["heat"], cmap=HEAT, vmin=0, vmax=data["top"])
        right.set(xticks=[], yticks=[])
        left.set_title(f"{data['normal']}, {name}", fontsize=10)
        right.set_title(f"heatmap, score {shown['score']:.3f}", fontsize=10)
    figure.colorbar(drawn, ax=axes[-1], label="heat A′")
    return figure

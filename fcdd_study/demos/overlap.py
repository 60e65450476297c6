"""A threshold on heatmaps of textures: what it covers of each defect, and its false alarms. Taught in: chapter 06."""

import matplotlib.pyplot as plt
import numpy as np

import fcdd
from fcdd import datasets
from fcdd.figures import HEAT, show_image

from .shared import as_bytes, colours

SHOWN = ("hole", "scratch", "stain", "crack")
SETTINGS = {
    **{"network": "fcdd_cnn32_s", "objective": "pixels", "exposure": "confetti", "augmentation": "parts", "sigma": 3.0},
    **{"normalisation": "standard", "optimizer": "adam", "learning_rate": 1e-3, "decay": 1.0, "batch_size": 16},
}


def data(profile: str, device: str) -> dict:
    """Pictures with the largest defect of four kinds, their masks, and heatmaps in 255 steps, on one scale."""
    small = profile == "smoke"
    windows = {"size": 48, "train": 32} if small else {"size": 64, "train": 120}
    split = datasets.load("textures", "brick", seed=0, test_good=6, test_each=4, **windows)
    detector = fcdd.FCDD(**SETTINGS, epochs=1 if small else 12, seed=0, device=device).fit(split.train.images)
    kinds, areas = np.array([name.split("/")[0] for name in split.test.names]), split.test.masks.sum((1, 2, 3)).numpy()
    chosen = [int(np.argmax(np.where(kinds == kind, areas, -1))) for kind in SHOWN]
    images, masks = split.test.images[chosen], split.test.masks[chosen, 0].numpy()
    maps = detector.anomaly_map(images)
    steps = np.floor(255 * np.clip(maps / np.quantile(maps, 0.995), 0, 1)).astype(np.uint8)
    parts = zip(SHOWN, images, masks, steps, strict=True)
    return {
        "run": f"{profile}, FCDD on textures/brick, seed 0",
        "size": windows["size"],
        "pictures": {
            kind: {"image": as_bytes(image), "mask": as_bytes(mask), "heat": as_bytes(heat)}
            for kind, image, mask, heat in parts
        },
        "colours": colours(),
        "still": [images.tolist(), masks.tolist(), steps.tolist()],
    }


def still(data: dict):
    """The pictures with the outlines of their defects, and their heatmaps with what lies above a threshold."""
    images, masks, heat = (np.array(part) for part in data["still"])
    level = np.quantile(heat[~masks], 0.95)  # one nominal pixel in twenty lies above
    figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.5))
    for column, name in enumerate(SHOWN):
        above, below = axes[:, column]
        show_image(above, images[column].astype(np.uint8))
        below.imshow(heat[column], cmap=HEAT, vmin=0, vmax=255)
        below.contour(heat[column] > level, [0.5], colors="white", linewidths=1, linestyles="--")
        for axis in (above, below):
            axis.contour(masks[column], [0.5], colors="#56b4e9", linewidths=1.2)
            axis.set(xticks=[], yticks=[])
        above.set_title(f"{name}, {(heat[column] > level)[masks[column]].mean():.0%} covered", fontsize=9)
    axes[0, 0].set_ylabel("picture, defect outlined", fontsize=9)
    axes[1, 0].set_ylabel("heatmap, threshold dashed", fontsize=9)
    return figure

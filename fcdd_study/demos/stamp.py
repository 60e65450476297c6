"""A mark that moves over pictures and takes the score with it. Taught in: chapter 07."""

import matplotlib.pyplot as plt
import numpy as np
import torch

import fcdd
from fcdd import datasets
from fcdd.figures import HEAT, show_image

from .. import protocol
from ..watermark import box, letters, watermark
from .shared import as_bytes, colours, network

OPACITY = 0.8  # fcdd_study.watermark's
NORMAL, DARK = "Shirt", 40  # DARK: grey value of a corner in which the mark is seen


def piles(profile: str) -> tuple:
    """The class that the detectors are to raise their score for and all others, to learn from and to test on, as in
    chapter 07: (ours, rest, new of ours, new of the rest)."""
    name = protocol.profile(profile)["dataset"]
    others = len(datasets.classes(name)) - 1
    split = datasets.load(name, NORMAL, labelled=0.5, known_classes=others, seed=0)
    most = protocol.profile(profile)["train"] or 1000
    train, test = split.train, split.test
    learnt = [train.images[group][:most] for group in (~train.anomalous, train.anomalous)]
    return *learnt, test.images[~test.anomalous], test.images[test.anomalous]


def detectors(profile: str, device: str) -> dict:
    """Two detectors of the class by name: one that saw a mark on every second image of it, and one that saw none."""
    ours, rest, *_ = piles(profile)
    marked = ours.clone()
    marked[::2] = watermark(ours[::2])
    settings = protocol.settings(profile, "fcdd") | {"network": "fcdd_cnn28", "normalisation": "standard"}
    settings |= {"augmentation": False, "seed": 0, "device": device, "epochs": -(-settings["epochs"] // 3)}
    outliers = {"saw the mark": marked, "never saw it": ours}
    return {name: fcdd.FCDD(**settings | {"exposure": images}).fit(rest) for name, images in outliers.items()}


def data(profile: str, device: str) -> dict:
    """Both networks, the letters, and test images with a dark corner, whose scores are closest to the median."""
    fitted, (_, _, ours, rest) = detectors(profile, device), piles(profile)
    ours, rest = (images[images[:, :, box((28, 28))].float().mean((1, 2)) < DARK] for images in (ours, rest))
    suspect = fitted["saw the mark"]
    pictures = {}
    for name, images in (("another class", rest), (NORMAL, ours)):
        scores = suspect.anomaly_score(images)
        usual = np.argsort(np.abs(scores - np.median(scores)), kind="stable")[:2]
        pictures |= {f"{name} {k + 1}": images[[i]] for k, i in enumerate(usual)}
    cover = letters(tuple(rest.shape[2:]))
    marked = watermark(next(iter(pictures.values())))
    pair = torch.cat([next(iter(pictures.values())), marked])
    return {
        "run": f"{profile}, FCDD, {NORMAL} against the rest, mark on half, seed 0",
        "networks": {name: network(detector) for name, detector in fitted.items()},
        "letters": cover.flatten().numpy().astype(float).round(5).tolist(),
        "opacity": OPACITY,
        "pictures": {name: as_bytes(image) for name, image in pictures.items()},
        "medians": {
            name: [round(float(np.median(d.anomaly_score(x))), 4) for x in (rest, ours)] for name, d in fitted.items()
        },
        "top": round(float(np.quantile(suspect.anomaly_map(marked), 0.98)), 2),
        "colours": colours(),
        "still": [pair.tolist(), suspect.anomaly_map(pair).tolist(), suspect.anomaly_score(pair).tolist()],
    }


def still(data: dict):
    """A picture and its heatmap, without the mark and with it, by the network that saw the mark."""
    images, maps, scores = data["still"]
    figure, axes = plt.subplots(1, 4, figsize=(8.4, 2.7))
    for place, name in enumerate(("without the mark", "with the mark")):
        left, right = axes[2 * place : 2 * place + 2]
        show_image(left, np.array(images[place], np.uint8))
        right.imshow(maps[place], cmap=HEAT, vmin=0, vmax=data["top"])
        right.set(xticks=[], yticks=[])
        left.set_title(name, fontsize=10)
        right.set_title(f"heatmap, score {scores[place]:.3f}", fontsize=10)
    return figure

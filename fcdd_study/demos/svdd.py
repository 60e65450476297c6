"""SVDD on points that one moves. Taught in: chapter 01."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import fcdd
from fcdd.figures import ANOMALOUS, NOMINAL

from . import rounded

NU, GAMMA = 0.2, 2.0  # where it begins
SIDES = [-2.2, 2.2], [-1.8, 1.8]


def data(profile: str, device: str) -> dict:
    """The presets' points; they depend on no profile."""
    rng = np.random.default_rng(0)
    moons = 1.1 * (make_moons(40, noise=0.07, random_state=0)[0] - [0.5, 0.25])
    angle = 2 * np.pi * np.arange(40) / 40
    ring = rng.normal(0, 0.08, (40, 2)) + 1.2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    blobs = rng.normal(0, 0.3, (40, 2)) + np.repeat([[-1.1, -0.4], [1.1, 0.4]], 20, axis=0)
    outlier = np.concatenate([rng.normal(0, 0.4, (39, 2)) - [0.6, 0], [[1.7, 1.2]]])
    presets = {"two moons": moons, "ring": ring, "two blobs": blobs, "one outlier": outlier}
    return {"presets": {name: rounded(points, 3) for name, points in presets.items()}, "x": SIDES[0], "y": SIDES[1]}


def still(data: dict):
    """The outline around the first preset, its support vectors, and what nu says."""
    points = np.array(next(iter(data["presets"].values())))
    sphere = fcdd.SVDD(nu=NU, gamma=GAMMA).fit(points)
    figure, axes = plt.subplots(figsize=(5.4, 4.4))
    x, y = np.meshgrid(*(np.linspace(*side, 150) for side in SIDES))
    plane = sphere.decision_function(np.stack([x, y], -1).reshape(-1, 2)).reshape(x.shape)
    axes.contourf(x, y, plane, [0, np.inf], colors=[NOMINAL], alpha=0.13)
    axes.contour(x, y, plane, [0], colors="black", linewidths=1.5)
    axes.scatter(*points.T, s=22, color=NOMINAL)
    axes.scatter(*points[sphere.support_].T, s=70, facecolors="none", edgecolors=ANOMALOUS, label="support vectors")
    outside = (sphere.predict(points) < 0).mean()
    title = f"{outside:.1%} outside ≤ ν = {NU:.0%} ≤ {len(sphere.support_) / len(points):.1%} support vectors"
    axes.set(xlim=SIDES[0], ylim=SIDES[1], xlabel="first feature", ylabel="second feature", aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure

"""Deep SAD in the plane: labelled anomalies that one moves, and their weight. Taught in: chapter 03."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from fcdd import objectives
from fcdd.detectors import away_from_zero
from fcdd.figures import ANOMALOUS, NOMINAL

from . import rounded

SIDES = [-1.0, 3.0], [-1.0, 3.0]
STEPS, RATE, HIDDEN, GAIN = 150, 0.02, 16, 2.5  # GAIN: brings the center away from 0, where all outputs begin
PRESETS = {
    "five on one side": [[2.1, 0.2], [2.3, 0.5], [2.2, 0.9], [2.5, 0.3], [2.4, 0.7]],
    "all around": [[2.2, 0.6], [1.6, 2.2], [0.2, 1.9], [0.1, 0.4], [1.2, -0.2]],
    "one among the nominal": [[1.0, 1.05], [2.3, 0.5], [2.2, 0.9], [2.5, 0.3], [2.4, 0.7]],
}


def data(profile: str, device: str) -> dict:
    """Unlabelled points, anomalies that nobody labels, and the weights that training begins with; of no profile."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 40)
    points = np.array([1.0, 1.0]) + rng.normal(0, [0.32, 0.22], (50, 2))
    unseen = 1 + rng.uniform(1.1, 1.6, (40, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Linear(2, HIDDEN, bias=False), nn.Linear(HIDDEN, 2, bias=False)
    weights = [rounded(GAIN * layer.weight.detach(), 5) for layer in layers]
    network = _network(weights)
    center = away_from_zero(network(torch.tensor(points, dtype=torch.float64)).mean(0).detach())
    return {
        **{
            "points": rounded(points, 3),
            "unseen": rounded(unseen, 3),
            "presets": PRESETS,
            "x": SIDES[0],
            "y": SIDES[1],
        },
        **{"weights": weights, "center": rounded(center, 6), "steps": STEPS, "rate": RATE},
    }


def _network(weights) -> nn.Sequential:
    """Two layers without biases, as Deep SAD wants them, with these weights."""
    first, second = (torch.tensor(weight, dtype=torch.float64) for weight in weights)
    network = nn.Sequential(
        nn.Linear(2, len(first), False), nn.LeakyReLU(0.01), nn.Linear(len(first), 2, False)
    ).double()
    with torch.no_grad():
        network[0].weight.copy_(first)
        network[2].weight.copy_(second)
    return network


def trained(data: dict, labelled, eta: float) -> tuple[nn.Sequential, float]:
    """The network after training with labelled anomalies (m, 2), as book/demos/labels.js does it, and its last loss."""
    network, center = _network(data["weights"]), torch.tensor(data["center"], dtype=torch.float64)
    x = torch.tensor([*data["points"], *labelled], dtype=torch.float64)
    y = torch.tensor([0.0] * len(data["points"]) + [-1.0] * len(labelled))
    adam = torch.optim.Adam(network.parameters(), lr=data["rate"])
    for _ in range(data["steps"]):
        loss = objectives.deep_sad(network(x), center, y, eta).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network, objectives.deep_sad(network(x), center, y, eta).mean().item()


def still(data: dict):
    """The outline that holds nine of ten unlabelled points, without labels and with five."""
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.9), sharex=True, sharey=True)
    x, y = np.meshgrid(*(np.linspace(*data[side], 120) for side in "xy"))
    grid = torch.tensor(np.stack([x, y], -1).reshape(-1, 2))
    labelled = data["presets"]["five on one side"]
    for axis, known, title in ((axes[0], [], "no labels"), (axes[1], labelled, "five labelled anomalies, η = 1")):
        network, center = trained(data, known, 1.0)[0], torch.tensor(data["center"])
        with torch.no_grad():
            score = objectives.deep_svdd(network(grid), center).reshape(x.shape).numpy()
            inner = objectives.deep_svdd(network(torch.tensor(data["points"], dtype=torch.float64)), center).numpy()
        level = np.sort(inner)[int(0.9 * len(inner)) - 1]
        axis.contourf(x, y, score, [0, level], colors=[NOMINAL], alpha=0.13)
        axis.contour(x, y, score, [level], colors="black", linewidths=1.5)
        axis.scatter(*np.transpose(data["points"]), s=16, color=NOMINAL, label="unlabelled")
        axis.scatter(*np.transpose(data["unseen"]), s=12, color="0.6", marker="x", label="anomalies never labelled")
        if known:
            axis.scatter(*np.transpose(known), s=60, color=ANOMALOUS, marker="^", label="labelled anomalies")
        axis.set_title(title, fontsize=10)
        axis.set(xlim=data["x"], ylim=data["y"], xlabel="first feature", aspect="equal")
    axes[0].set_ylabel("second feature")
    axes[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure

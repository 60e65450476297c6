"""A latent space of two dimensions, epoch by epoch, with biases and without. Taught in: chapter 02."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from fcdd import augment, metrics, objectives
from fcdd.detectors import away_from_zero
from fcdd.figures import ANOMALOUS, NOMINAL

from .. import protocol
from . import rounded
from .shared import nominal_class

EPOCHS, RATE, DECAY, SPREAD = 40, 0.01, 0.1, 4  # SPREAD: of the outputs at the start, so that one sees them shrink
SHOWN = 40  # images of each group
KINDS = {"without biases": False, "with biases": True}


def data(profile: str, device: str) -> dict:
    """Where some test images lie after each epoch, the loss and the AUROC, for a network of either kind."""
    normal = nominal_class(profile, "Sandal")
    split = protocol.split(profile, normal)
    prepare = augment.fit_normalisation(split.train.images, "unit")
    groups = [np.flatnonzero(group)[:: max(1, int(group.sum()) // SHOWN)][:SHOWN] for group in _groups(split)]
    kinds = {
        name: _replay(prepare(split.train.images), prepare(split.test.images), split.test.anomalous, groups, bias)
        for name, bias in KINDS.items()
    }
    run = f"{profile}, nominal {normal}, two-layer network with two outputs, Adam {RATE}, weight decay {DECAY}, seed 0"
    return {"run": run, "nominal": len(groups[0]), "kinds": kinds}


def _groups(split):
    return ~split.test.anomalous, split.test.anomalous


def _replay(train, test, anomalous, groups, bias: bool, seed: int = 0) -> dict:
    """Trains one network by the objective of Deep SVDD and follows it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(train[0].numel(), 64, bias=bias), nn.LeakyReLU(), nn.Linear(64, 2, bias=bias)
        layers[-1].weight.data *= SPREAD
        network, draws = nn.Sequential(nn.Flatten(), *layers), torch.Generator().manual_seed(seed)
    center = away_from_zero(network(train).mean(0).detach(), 0.1)
    adam = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=DECAY)
    told = {"center": rounded(center, 4), "frames": [], "loss": [], "auroc": []}
    for epoch in range(EPOCHS + 1):
        for batch in torch.randperm(len(train), generator=draws).split(128) if epoch else ():
            loss = objectives.deep_svdd(network(train[batch]), center).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            z = network(test)
            told["loss"].append(float(f"{objectives.deep_svdd(network(train), center).mean():.5g}"))
        scores = objectives.deep_svdd(z, center).numpy()
        told["auroc"].append(round(metrics.auroc(anomalous, scores), 4))
        told["frames"].append(rounded(z[np.concatenate(groups)].flatten(), 3))
    return told


def still(data: dict):
    """The latent space before and after training, of either network."""
    figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.2), sharex=True, sharey=True)
    for row, (name, told) in zip(axes, data["kinds"].items(), strict=True):
        for axis, epoch in zip(row, (0, EPOCHS // 6, EPOCHS), strict=True):
            z = np.reshape(told["frames"][epoch], (-1, 2))
            axis.scatter(*z[data["nominal"] :].T, s=10, color=ANOMALOUS, label="anomalous")
            axis.scatter(*z[: data["nominal"]].T, s=10, color=NOMINAL, label="nominal")
            axis.scatter(*told["center"], s=60, color="black", marker="+", label="center c")
            axis.set_title(f"epoch {epoch}, AUROC {told['auroc'][epoch]:.2f}", fontsize=10)
        row[0].set_ylabel(f"{name}\nsecond output")
    for axis in axes[-1]:
        axis.set_xlabel("first output")
    axes[0, 2].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure

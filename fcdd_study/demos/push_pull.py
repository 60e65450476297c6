"""What the distance from the center costs, and how hard it pulls or pushes. Taught in: chapter 04."""

import matplotlib.pyplot as plt
import torch

from fcdd import objectives
from fcdd.figures import ANOMALOUS, NOMINAL

REACH = 4.0  # of the distances that are shown


def data(profile: str, device: str) -> dict:
    """Nothing but how far the axis goes; the losses are formulas."""
    return {"reach": REACH}


def still(data: dict):
    """Loss and gradient of the hypersphere classifier over the distance, for both labels."""
    distance = torch.linspace(0.02, data["reach"], 400, requires_grad=True)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
    for label, name, colour in ((1.0, "nominal: h", NOMINAL), (-1.0, "anomalous: −log(1 − exp(−h))", ANOMALOUS)):
        loss = objectives.hypersphere(distance[:, None], torch.full((400,), label))
        (gradient,) = torch.autograd.grad(loss.sum(), distance)
        axes[0].plot(distance.detach(), loss.detach(), color=colour, label=name)
        axes[1].plot(distance.detach(), gradient, color=colour)
    axes[1].axhline(0, color="0.6", lw=1)
    axes[0].set(xlabel="distance from the center", ylabel="loss", ylim=(0, 5))
    axes[1].set(xlabel="distance from the center", ylabel="gradient: pull above 0, push below", ylim=(-4, 4))
    axes[0].legend(frameon=False)
    return figure

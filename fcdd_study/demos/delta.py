"""Pseudo-Huber between L1 and L2. Taught in: chapter 05."""

import torch

from fcdd import objectives

from ..figures import ch05_fcdd

REACH = 3.0


def data(profile: str, device: str) -> dict:
    """Nothing but how far the axis goes; the losses are formulas."""
    return {"reach": REACH}


def still(data: dict):
    """Value and gradient over the network's output."""
    z = torch.linspace(-data["reach"], data["reach"], 301, requires_grad=True)
    curves = {"L2: z²/2": z**2 / 2, "L1: |z|": z.abs()}
    curves |= {f"pseudo-Huber, δ = {delta}": delta**2 * objectives.pseudo_huber(z / delta) for delta in (1, 0.3)}
    return ch05_fcdd.values_and_gradients(z, curves)

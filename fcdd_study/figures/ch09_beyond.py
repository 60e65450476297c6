"""Figures of chapter 09."""

import matplotlib.pyplot as plt

from fcdd.figures import ANOMALOUS, NOMINAL, picture_rows

from .shared import intervals
from .style import stamp

__all__ = ["intervals", "picture_rows", "stamp", "timeline"]

SPACES = ("a kernel", "learnt for the class", "learnt before, on other pictures")
METHODS = (  # name, year, place in SPACES
    ("SVDD", 2004, 0), ("Deep SVDD", 2018, 1), ("SPADE", 2020, 2), ("FCDD", 2021, 1), ("PaDiM", 2021, 2),
    ("DRAEM", 2021, 1), ("PatchCore", 2022, 2), ("SimpleNet", 2023, 2), ("EfficientAD", 2024, 2),
    ("Dinomaly", 2025, 2), ("AnomalyDINO", 2025, 2),
)  # fmt: skip


def timeline(lit: tuple = ()):
    """Detectors in the order of their years, each on the line of the space it measures in; those ``lit`` filled."""
    figure, axes = plt.subplots(figsize=(9.6, 2.6))
    for place, (name, year, space) in enumerate(METHODS):
        colour = ANOMALOUS if name in lit else NOMINAL
        axes.scatter(place, -space, s=90, color=colour if name in lit else "white", edgecolor=colour, zorder=2)
        axes.text(place, 0.16 - space, name, ha="center", va="bottom", fontsize=9)
        axes.text(place, -0.18 - space, year, ha="center", va="top", fontsize=8, color="0.35")
    axes.hlines((0, -1, -2), -0.5, len(METHODS) - 0.5, color="0.85", zorder=1)
    axes.set_yticks((0, -1, -2), SPACES)
    axes.set(xticks=[], xlim=(-0.7, len(METHODS) - 0.3), ylim=(-2.6, 0.6))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure

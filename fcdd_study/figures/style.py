"""What the figures of all chapters share: settings, the line of descent, and the stamp of the run behind a figure."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.patches import FancyBboxPatch

from fcdd.figures import NOMINAL

GREEN, ORANGE, PURPLE = "#009e73", "#e69f00", "#cc79a7"  # of the Okabe-Ito palette, as NOMINAL and ANOMALOUS
LINEAGE = [
    ("SVDD", "2004", "a sphere in\nkernel space"),
    ("Deep SVDD", "2018", "a network\nlearns the space"),
    ("Deep SAD", "2020", "a few labelled\nanomalies"),
    ("HSC", "2020", "outlier exposure,\ncross-entropy"),
    ("FCDD", "2021", "the map is\nthe explanation"),
]


def set_style() -> None:
    """The book's matplotlib and seaborn settings, in the place of any that a matplotlibrc made."""
    plt.rcdefaults()
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "image.cmap": "gray"})


def stamp(figure, *runs) -> None:
    """Writes the names of the runs behind a figure under it, small."""
    figure.supxlabel(
        "run: " + ", ".join(str(getattr(run, "id", run)) for run in runs), fontsize=7, color="0.45", ha="left", x=0.01
    )


def lineage(here: str | None = None):
    """The line of descent as a row of boxes; the method ``here`` is filled."""
    figure, axes = plt.subplots(figsize=(9.6, 1.7))
    for place, (name, year, gain) in enumerate(LINEAGE):
        active = name == here
        box = FancyBboxPatch((place * 2, 0), 1.5, 1, boxstyle="round,pad=0.05,rounding_size=0.12", lw=1.5, ec=NOMINAL,
                             fc=NOMINAL if active else "white")  # fmt: skip
        axes.add_patch(box)
        colour = "white" if active else "black"
        axes.text(place * 2 + 0.75, 0.78, f"{name}", ha="center", va="center", weight="bold", fontsize=11, color=colour)
        axes.text(place * 2 + 0.75, 0.32, gain, ha="center", va="center", fontsize=8, color=colour)
        axes.text(place * 2 + 0.75, -0.22, year, ha="center", va="center", fontsize=8, color="0.35")
        if place:
            axes.annotate(
                "", (place * 2 - 0.08, 0.5), (place * 2 - 0.42, 0.5), arrowprops={"arrowstyle": "->", "color": "0.35"}
            )
    axes.set(xlim=(-0.15, 9.65), ylim=(-0.4, 1.15))
    axes.axis("off")
    return figure

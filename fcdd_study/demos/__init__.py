"""What figures that move begin with: their numbers, as a script that a page opened from disk can load, and their still.

One file a figure: ``data(profile, device)`` gives its numbers, as JSON holds them, and ``still(data)`` draws where it
begins; what only that needs is under "still", and stays out of the page. What moves is the file of the same name in
book/demos.
"""

import json
from importlib import import_module
from pathlib import Path

import numpy as np

from fcdd.files import whole

FIGURES = (*("threshold", "svdd", "collapse", "labels", "push_pull", "draw", "delta", "field", "overlap", "stamp"),)


def write(folder: Path, profile: str = "quick", device: str = "auto", names=FIGURES) -> None:
    """Writes ``name.data.js`` and ``name.png`` of each figure to the folder, each file whole or not at all.

    Raises ValueError for an unknown name or profile.
    """
    import matplotlib.pyplot as plt

    from ..figures import style

    if unknown := set(names) - set(FIGURES):
        raise ValueError(f"unknown figures {', '.join(sorted(unknown))}; known: {', '.join(FIGURES)}")
    folder = Path(folder)
    style.set_style()
    for name in names:
        module = import_module(f".{name}", __name__)
        data = module.data(profile, device)
        figure = module.still(data)
        data.pop("still", None)
        script = f"fcddDemos.data({json.dumps(name)}, {json.dumps(data, allow_nan=False, separators=(',', ':'))});\n"
        with whole(folder / f"{name}.png") as partial:
            figure.savefig(partial, format="png")
        plt.close(figure)
        with whole(folder / f"{name}.data.js") as partial:
            partial.write_text(script, encoding="utf-8")


def read(folder: Path, name: str) -> dict:
    """The numbers that :func:`write` wrote."""
    text = (Path(folder) / f"{name}.data.js").read_text(encoding="utf-8")
    return json.loads(text.partition(", ")[2].removesuffix(");\n"))


def rounded(values, digits: int) -> list:
    """An array as nested lists of numbers with so many digits after the point."""
    return np.asarray(values, np.float64).round(digits).tolist()

"""Makes the opening picture of README and book, book/_static/opening.png: FCDD on the four papers inside the package.

python -m fcdd_study.figures.opening
"""

import io

import numpy as np
from PIL import Image

from fcdd import FCDD, datasets, explain
from fcdd_study import records
from fcdd_study.figures import shared, style

EACH, SEED = 2, 0  # patches of each paper


def opening():
    """Trains a detector for each paper, as it comes without any setting, and returns the figure.

    Patches are drawn at random. The heatmaps of a paper share a scale, good and defective ones.
    """
    style.set_style()
    rng, names = np.random.default_rng(SEED), datasets.classes("piped-small")
    parts = []
    for name in names:
        split = datasets.load("piped-small", name)
        detector, test = FCDD(seed=SEED).fit(split.train.images), split.test
        good, bad = (np.sort(rng.choice(np.flatnonzero(test.anomalous == kind), EACH, False)) for kind in (False, True))
        heat = explain.for_display(detector.anomaly_map(test.images[np.r_[good, bad]]), 0.99)
        parts.append((test.images[good], test.images[bad], heat[:EACH], heat[EACH:], test.masks[bad]))
    columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
    figure = shared.heatmap_rows(*columns, quantile=1.0)  # each paper's maps have their scale already
    for axis, name in zip(figure.axes, np.repeat(names, EACH), strict=False):
        axis.set_title(name, fontsize=8)
    style.stamp(figure, f"fcdd.FCDD() on piped-small, seed {SEED}")
    return figure


if __name__ == "__main__":
    path = records.ROOT / "book" / "_static" / "opening.png"
    held = io.BytesIO()
    opening().savefig(held, format="png")
    # A reader loads it first: 256 colours are a third of the bytes, and nobody sees which.
    Image.open(held).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.name, f"{path.stat().st_size:,} bytes")

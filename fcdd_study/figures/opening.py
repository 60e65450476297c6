"""Makes the opening picture of README and book, book/_static/opening.png: one FCDD of profile quick and what it sees.

python -m fcdd_study.figures.opening
"""

import numpy as np

import fcdd_study as study
from fcdd_study import protocol, records
from fcdd_study.figures import shared, style

NORMAL = "Trouser"


def opening():
    """Trains the detector and returns the figure."""
    style.set_style()
    run = study.run("quick", "fcdd", NORMAL, seed=0)
    split = study.split("quick", NORMAL)
    detector = protocol.detector(run).fit(split.train.images)
    rng = np.random.default_rng(0)
    # One random image of each kind of clothing that is not nominal, and as many random nominal ones.
    others = sorted(set(split.test.names) - {NORMAL})
    anomalous = [rng.choice(np.flatnonzero(split.test.names == name)) for name in others]
    nominal = rng.choice(np.flatnonzero(~split.test.anomalous), len(anomalous), replace=False)
    images = [split.test.images[chosen] for chosen in (nominal, anomalous)]
    figure = shared.heatmap_rows(*images, *[detector.anomaly_map(batch) for batch in images])
    style.stamp(figure, run)
    return figure


if __name__ == "__main__":
    path = records.ROOT / "book" / "_static" / "opening.png"
    opening().savefig(path, metadata={"Software": None})
    print(path.name, f"{path.stat().st_size:,} bytes")

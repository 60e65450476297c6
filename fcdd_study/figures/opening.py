"""Makes the opening picture of README and book, book/_static/opening.png: one FCDD of profile quick and what it sees.

python fcdd_study/figures/opening.py
"""

import numpy as np

import fcdd_study as study
from fcdd_study import figures as plots
from fcdd_study import protocol, records

NORMAL = "Trouser"

plots.set_style()
run = study.run("quick", "fcdd", NORMAL, seed=0)
split = study.split("quick", NORMAL)
detector = protocol.detector(run).fit(split.train.images)
rng = np.random.default_rng(0)
# One random image of each kind of clothing that is not nominal, and as many random nominal ones.
anomalous = [rng.choice(np.flatnonzero(split.test.names == name)) for name in sorted(set(split.test.names) - {NORMAL})]
nominal = rng.choice(np.flatnonzero(~split.test.anomalous), len(anomalous), replace=False)
images = [split.test.images[chosen] for chosen in (nominal, anomalous)]
figure = plots.heatmap_rows(*images, *[detector.anomaly_map(batch) for batch in images])
plots.stamp(figure, run)
path = records.ROOT / "book" / "_static" / "opening.png"
figure.savefig(path, metadata={"Software": None})
print(path.name, f"{path.stat().st_size:,} bytes")

"""How the defaults on frozen features were chosen: ``python -m benchmarks.choose_features``, on good images alone.

Two thirds of the good training images of each set are learnt from, of papers whole sheets; on copies of the others
scratches, holes, stains, cracks, fibres and worn patches are drawn (``fcdd_study.textures``). No test image is read.
One setting at a time differs from the default: means over the sets of what each reaches.
"""

from contextlib import contextmanager
from typing import Annotated

import numpy as np
import torch
import typer
from tqdm import tqdm

import fcdd
from fcdd import features, metrics
from fcdd_study.textures import DEFECTS, damage

from .__main__ import show
from .defects import PAPERS, SETS, Remembered

SHOWN = ("bottle", "screw", *PAPERS)
CONSTANTS = ("NOISE", "STEPS", "PLACES")  # of fcdd.features; all else are parameters of the detector
CANDIDATES = {
    fcdd.FCDD: [
        {},
        *({"PLACES": places} for places in (256, 1024)),
        *({"NOISE": noise} for noise in ((0.25, 1.0), (0.5, 1.0), (0.25, 2.0), (1.0, 4.0))),
        *({"epochs": epochs} for epochs in (10, 40)),
        *({"decay": decay, "learning_rate": rate} for decay, rate in ((1.0, 1e-3), (1.0, 2e-3), (0.9, 2e-3))),
        *({"sigma": sigma} for sigma in (4.0, 6.0, 12.0, 16.0)),
        *({"top": top} for top in (0.001, 0.01, 0.05, 0.1, None)),
    ],
    fcdd.PatchNeighbours: [
        {},
        {"whiten": False},
        *({"sigma": sigma} for sigma in (2.0, 4.0, 8.0, 12.0)),
        *({"top": top} for top in (None, 0.01, 0.05, 0.1, 1.0)),
        {"bank": 2000},
    ],
}


def with_drawn(images: torch.Tensor, seed: int = 7):
    """The images, then a copy of each with one defect: all of them, which pixels are changed, which images."""
    rng, kinds = np.random.default_rng(seed), list(DEFECTS)
    clean = images.permute(0, 2, 3, 1).numpy()
    damaged = np.stack([damage(image, kinds[k % len(kinds)], rng) for k, image in enumerate(clean)])
    masks = (damaged != clean).any(-1)
    both = torch.cat([images, torch.from_numpy(damaged).permute(0, 3, 1, 2)])
    return both, np.concatenate([np.zeros_like(masks), masks]), np.repeat([False, True], len(images))


def parts(name: str, most: int):
    """Good images to learn from, and others to draw on: at most ``most`` of both together."""
    dataset, normal, side = SETS[name]
    train = fcdd.datasets.load(dataset, normal, size=(side, side)).train
    if name in PAPERS:
        sheets = np.unique(train.groups)
        last = np.isin(train.groups, sheets[-max(1, len(sheets) // 3) :])
        return train.images[~last], train.images[last]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(train.images))[:most])
    return train.images[order[most // 3 :]], train.images[order[: most // 3]]


@contextmanager
def constants(values: dict):
    """While it lasts, constants of :mod:`fcdd.features` have other values."""
    before = {name: getattr(features, name) for name in values}
    vars(features).update(values)
    try:
        yield
    finally:
        vars(features).update(before)


def judge(make, settings: dict, learnt, test) -> tuple[float, float, float]:
    """Pixel AUROC, AUPRO and image AUROC."""
    images, masks, anomalous = test
    options = {key: value for key, value in settings.items() if key not in CONSTANTS}
    with constants({key: value for key, value in settings.items() if key in CONSTANTS}):
        detector = make(**options).fit(learnt, held_out=0)
        maps, scores = detector.anomaly_map(images), detector.anomaly_score(images)
    return metrics.pixel_auroc(masks, maps), metrics.aupro(masks, maps), metrics.auroc(anomalous, scores)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(SHOWN)}")] = None,
    most: Annotated[int, typer.Option(help="images of bottle and screw")] = 120,
) -> None:
    """Prints what each candidate reaches on drawn defects, best first."""
    found: dict = {make: {str(each): [] for each in settings} for make, settings in CANDIDATES.items()}
    for name in tqdm(only or SHOWN, leave=False):
        learnt, others = parts(name, most)
        test = with_drawn(others)
        with Remembered():
            for make, settings in CANDIDATES.items():
                for each in settings:
                    found[make][str(each)].append(judge(make, each, learnt, test))
    for make, settings in found.items():
        best_first = sorted(settings.items(), key=lambda item: -np.mean(item[1]))
        rows = [[title, *(f"{value:.4f}" for value in np.mean(values, axis=0))] for title, values in best_first]
        show(["settings", "pixel AUROC", "AUPRO", "image AUROC"], rows, f"{make.__name__}, drawn defects")


if __name__ == "__main__":
    typer.run(main)

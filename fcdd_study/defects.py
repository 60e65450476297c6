"""A few labelled defects for training: from the unsupervised to the semi-supervised setting. Taught in: chapter 06."""

from dataclasses import replace

import numpy as np
import torch

from fcdd.datasets.split import Images, Split


def with_defects(split: Split, k: int = 1, *, seed: int = 0, leak: bool = False, share: float | None = None) -> Split:
    """``k`` defective test images of every defect type moved to the training images, with label -1 and masks.

    The type is what stands before the slash of a name; ``seed`` draws the images. They leave the test images. ``leak``
    keeps them there as well, which is what the official FCDD code does: it is then tested on what it was shown.
    ``share`` repeats them until they make up about this share of the training images; the paper's .5 replaces every
    second good image by one of them. Good training images get blank masks. Returns a new split.

    Raises ValueError without defects or masks, for a type with k images or fewer (none would be left to test), for
    a share outside (0, 1).
    """
    test, train = split.test, split.train
    if test.masks is None or not test.anomalous.any():
        raise ValueError(f"expected defective test images with masks in {split.name}; it has none")
    if share is not None and not 0 < share < 1:
        raise ValueError(f"expected a share of defective images between 0 and 1, got {share}")
    chosen = _draw(test, k, np.random.default_rng(seed))
    times = 1 if share is None else max(1, round(share / (1 - share) * len(train) / len(chosen)))
    shown = np.tile(chosen, times)
    blank = torch.zeros(len(train), *test.masks.shape[1:], dtype=torch.bool)
    more = Images(
        torch.cat([train.images, test.images[shown]]),
        torch.cat([train.y, torch.full((len(shown),), -1, dtype=train.y.dtype)]),
        np.r_[train.anomalous, test.anomalous[shown]],
        np.r_[train.names, test.names[shown]],
        torch.cat([blank if train.masks is None else train.masks, test.masks[shown]]),
        None if train.groups is None or test.groups is None else np.r_[train.groups, test.groups[shown]],
    )
    kept = np.arange(len(test)) if leak else np.setdiff1d(np.arange(len(test)), chosen)
    return replace(split, train=more, test=test.take(kept))


def _draw(test: Images, k: int, rng) -> np.ndarray:
    """The places of ``k`` images of every defect type among the test images."""
    kinds = np.array([name.split("/")[0] for name in test.names])
    chosen = []
    for kind in np.unique(kinds[test.anomalous]):
        members = np.flatnonzero((kinds == kind) & test.anomalous)
        if not 1 <= k < len(members):
            raise ValueError(f"expected 1 to {len(members) - 1} training images of defect {kind}, got {k}")
        chosen.append(rng.choice(members, k, replace=False))
    return np.sort(np.concatenate(chosen))

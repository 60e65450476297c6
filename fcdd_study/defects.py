"""Defects for what a split lacks: a few labelled ones to train with, drawn ones to test with. Taught in: chapter 06."""

from dataclasses import replace

import numpy as np
import torch

from fcdd.datasets.split import Images, Split

from .textures import DEFECTS, damage

LEAST, EACH = 8, 24  # good images to test with, at least; defects that are drawn, at least


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


def measurable(split: Split, seed: int = 0) -> Split:
    """The split itself if its defective test images have masks; otherwise one with drawn defects, and exact masks.

    They are drawn on copies of the good test images, each kind of :data:`fcdd_study.textures.DEFECTS` in turn; the
    split's own defective images are left out, since nobody knows where in them the defect is. With fewer than eight
    good test images a fifth of the training images, at least eight, tests instead of training. ``said`` and ``name`` of
    the new split tell what was done. Raises ValueError where that would leave fewer than eight to train.
    """
    test, train, rng = split.test, split.train, np.random.default_rng(seed)
    if test.masks is not None and test.anomalous.any() and bool(test.masks[test.anomalous].flatten(1).any(1).all()):
        return split
    told, good = "defects drawn on its good test images", test.take(np.flatnonzero(~test.anomalous))
    if len(good) < LEAST:
        count = max(LEAST, round(0.2 * len(train)))
        if len(train) < count + LEAST:
            raise ValueError(f"expected at least {2 * LEAST} good images to draw defects on some, got {len(train)}")
        order = rng.permutation(len(train))
        good, train = train.take(np.sort(order[:count])), train.take(np.sort(order[count:]))
        told = f"defects drawn on {count} good images that were held out"
    kinds = [kind for kind in DEFECTS for _ in range(-(-EACH // len(DEFECTS)))]
    clean = good.images[np.resize(rng.permutation(len(good)), len(kinds))]
    drawn = [_drawn(image, kind, rng) for image, kind in zip(clean, kinds, strict=True)]
    images, count = torch.stack(drawn), len(good)
    masks = torch.cat([torch.zeros(count, 1, *clean.shape[2:], dtype=torch.bool), (images != clean).any(1, True)])
    anomalous = np.arange(count + len(kinds)) >= count
    names = np.array([f"good/{k:03}" for k in range(count)] + [f"{kind}/{k:03}" for k, kind in enumerate(kinds)])
    y = torch.from_numpy(np.where(anomalous, -1, 1))
    test = Images(torch.cat([good.images[:], images]), y, anomalous, names, masks)
    return replace(split, name=f"{split.name}, defects drawn", train=train, test=test, said=f"{split.source}; {told}")


def _drawn(image: torch.Tensor, kind: str, rng) -> torch.Tensor:
    """One image (C, H, W) uint8 with a defect."""
    return torch.from_numpy(damage(image.permute(1, 2, 0).numpy(), kind, rng)).permute(2, 0, 1)

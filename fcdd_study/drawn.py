"""Defects drawn on good images, with exact masks, where a split has none, or no masks. Taught in: chapter 06."""

from dataclasses import replace

import numpy as np
import torch

from fcdd.datasets.split import Images, Split

from .textures import DEFECTS, damage

LEAST, DRAWN = 8, 24  # good images to test with, and defects that are drawn, at least


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
    kinds = [kind for kind in DEFECTS for _ in range(-(-DRAWN // len(DEFECTS)))]
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

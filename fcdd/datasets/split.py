"""A data set as the one-vs-rest protocol sees it: training images of one class, test images of all."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) uint8 with what is known of them. y: (N,) labels for training, +1 nominal, 0 unlabelled, -1
    anomalous; anomalous: (N,) boolean ground truth; masks: (N, 1, H, W) boolean; names: of the classes or files;
    groups: (N,) the sheets, days or batches whose images are alike, as ``fit`` and ``calibrate`` take them."""

    images: Tensor
    y: Tensor
    anomalous: np.ndarray
    names: np.ndarray
    masks: Tensor | None = field(default=None, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)

    def __len__(self):
        return len(self.images)

    def take(self, chosen) -> "Images":
        """Those at the places ``chosen``, in that order."""
        parts = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return Images(**{key: part if part is None else part[chosen] for key, part in parts.items()})


@dataclass(frozen=True)
class Split:
    """Training and test images of one nominal class, and where they came from; ``said`` is that in words."""

    name: str
    normal: str
    train: Images
    test: Images
    source: str
    said: str = ""

    def __repr__(self):
        labelled = int((self.train.y < 0).sum())
        polluting = int(self.train.anomalous.sum()) - labelled
        train = f"{len(self.train)} training images" + (f" ({labelled} labelled anomalies)" if labelled else "")
        train += f" ({polluting} unlabelled anomalies)" if polluting > 0 else ""
        test = f"{len(self.test)} test images ({int(self.test.anomalous.sum())} anomalous)"
        return f"{self.name}, nominal: {self.normal}. {train}, {test}. From {self.said or self.source}"


def one_vs_rest(
    name, arrays, class_names, normal, source, *, labelled=0.0, pollution=0.0, known_classes=1, seed=0
) -> Split:
    """Splits labelled images into a nominal class and the rest; the n nominal training images are all kept.

    ``arrays`` maps train_images, train_labels, test_images, test_labels to tensors (images also to ``Pictures``).
    ``pollution`` is the share of anomalies among the unlabelled images, p / (n + p), from all other classes;
    ``labelled`` that of labelled anomalies (-1) among all, m / (n + p + m), from ``known_classes`` other classes that
    ``seed`` draws. No image is both (Ruff et al. 2020, Deep SAD, 4.2). Raises ValueError for an unknown class, shares
    outside [0, 0.9], more classes or images than there are."""
    if normal not in class_names:
        raise ValueError(f"unknown class {normal!r} of {name}; known: {', '.join(class_names)}")
    for share, what in ((labelled, "labelled share"), (pollution, "pollution")):
        if not 0 <= share <= 0.9:
            raise ValueError(f"expected a {what} between 0 and 0.9, got {share}")
    label, labels = list(class_names).index(normal), arrays["train_labels"].numpy()
    classes = np.setdiff1d(labels, [label])  # those of which there are images
    if known_classes not in range(1, max(2, len(classes) + 1)):
        raise ValueError(f"expected known_classes from 1 to the {len(classes)} others, got {known_classes}")
    nominal, rng = np.flatnonzero(labels == label), np.random.default_rng(seed)
    mixed = _number(pollution, len(nominal))
    if (count := _number(labelled, len(nominal) + mixed)) and len(classes):
        classes = rng.choice(classes) if known_classes == 1 else rng.choice(classes, known_classes, replace=False)
    pool = np.flatnonzero(np.isin(labels, classes))
    known = _draw(rng, pool, count, f"the {known_classes} known anomalous class(es)")
    # The official Deep SAD code draws the two independently, so that one image may be labelled and unlabelled at once.
    others = np.setdiff1d(np.flatnonzero(labels != label), known)
    polluting = _draw(rng, others, mixed, f"the classes other than {normal}, apart from the labelled ones,")
    chosen = np.concatenate([nominal, polluting, known])
    y = torch.from_numpy(np.repeat([0, -1], [len(chosen) - len(known), len(known)]))
    names = np.asarray(class_names)
    train = Images(arrays["train_images"][chosen], y, labels[chosen] != label, names[labels[chosen]])
    labels = arrays["test_labels"].numpy()
    anomalous = labels != label
    test = Images(arrays["test_images"][:], torch.from_numpy(np.where(anomalous, -1, 1)), anomalous, names[labels])
    return Split(name, normal, train, test, source)


def _number(share: float, rest: int) -> int:
    """How many images make up ``share`` of all, next to ``rest`` others; at least one unless the share is 0."""
    return max(1, round(share / (1 - share) * rest)) if share else 0


def _draw(rng, pool: np.ndarray, count: int, whose: str) -> np.ndarray:
    if count > len(pool):
        raise ValueError(f"{count} anomalies are asked for, {whose} have {len(pool)} images; lower the share")
    return rng.choice(pool, count, replace=False) if count else pool[:0]


def complete(arrays: dict) -> dict:
    """Arrays of a data set with one part only: it serves as both the training and the test images."""
    other = {"train": "test", "test": "train"}
    return {key.replace(part, other[part]): arrays[key] for key in arrays for part in other if part in key} | arrays

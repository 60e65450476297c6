"""A data set as the one-vs-rest protocol sees it: training images of one class, test images of all."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images with what is known of them.

    images: (N, C, H, W) uint8; y: (N,) labels for training, +1 nominal, 0 unlabelled, -1 anomalous; anomalous: (N,)
    boolean ground truth; masks: (N, 1, H, W) boolean or None; names: a name for each image (its class or file).
    """

    images: Tensor
    y: Tensor
    anomalous: np.ndarray
    names: np.ndarray
    masks: Tensor | None = field(default=None, repr=False)

    def __len__(self):
        return len(self.images)


@dataclass(frozen=True)
class Split:
    """Training and test images of one nominal class, and where they came from."""

    name: str
    normal: str
    train: Images
    test: Images
    source: str

    def __repr__(self):
        labelled = int((self.train.y < 0).sum())
        return (
            f"{self.name}, nominal: {self.normal}. {len(self.train)} training images"
            + (f" ({labelled} labelled anomalies)" if labelled else "")
            + f", {len(self.test)} test images ({int(self.test.anomalous.sum())} anomalous). From {self.source}"
        )


def one_vs_rest(name, arrays, class_names, normal: str, source: str, *, labelled: float = 0.0, seed: int = 0) -> Split:
    """Splits labelled images into a nominal class and the rest.

    ``arrays`` maps train_images, train_labels, test_images, test_labels to tensors. ``labelled`` is γ in
    γ = m / (n + m): m images of one other class join the n nominal ones with label -1. Raises ValueError for γ
    outside [0, 0.9].
    """
    if not 0 <= labelled <= 0.9:
        raise ValueError(f"expected a labelled share between 0 and 0.9, got {labelled}")
    label = list(class_names).index(normal)
    labels = arrays["train_labels"].numpy()
    chosen = np.flatnonzero(labels == label)
    y = np.zeros(len(chosen), dtype=np.int64)
    if labelled:
        rng = np.random.default_rng(seed)
        known = rng.choice([k for k in range(len(class_names)) if k != label])
        pool = np.flatnonzero(labels == known)
        extra = rng.choice(pool, min(len(pool), max(1, round(labelled / (1 - labelled) * len(chosen)))), replace=False)
        chosen, y = np.concatenate([chosen, extra]), np.concatenate([y, np.full(len(extra), -1)])
    names = np.asarray(class_names)
    train = Images(arrays["train_images"][chosen], torch.from_numpy(y), labels[chosen] != label, names[labels[chosen]])
    labels = arrays["test_labels"].numpy()
    anomalous = labels != label
    test = Images(arrays["test_images"], torch.from_numpy(np.where(anomalous, -1, 1)), anomalous, names[labels])
    return Split(name, normal, train, test, source)

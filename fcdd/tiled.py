"""Large pictures seen through tiles: learnt from tiles, judged and calibrated as whole pictures.

Taught in: the page on your own images.
"""

import numpy as np
import torch
from sklearn.base import BaseEstimator

from . import recipes, tiles
from .checks import as_images, as_labels, as_masks
from .estimator import parameters
from .scores import ScoreMixin


@parameters
class Tiled(ScoreMixin, BaseEstimator):
    """A detector of tiles, for pictures (N, C, H, W) in which defects are small.

    It learns from tiles side by side. The score of a picture is that of its worst tile, its map that of overlapping
    tiles (:func:`fcdd.tiles.score_in_tiles`). Parameters: method and settings, as :func:`fcdd.recipes.detector` takes
    them; tile, the side in px; nu; seed; device. Fitted: inner_, the detector of tiles; offset_; image_shape_.
    """

    method: str = "fcdd"
    settings: dict | None = None
    tile: int = 256
    nu: float = 0.1
    seed: int = 0
    device: str = "auto"

    learns_from_anomalies = learns_from_masks = True  # if the method does

    @property
    def trains_in_epochs(self):
        return recipes.METHODS[self.method].trains_in_epochs

    def _inputs(self, X, y=None, masks=None):
        images = as_images(X)
        labels = as_labels(y, len(images))
        if masks is None and (labels < 0).any():
            raise ValueError("expected masks for anomalous pictures that are cut into tiles: not every tile shows it")
        return images, labels, as_masks(masks, images, labels)

    def _learn(self, images, labels, masks, **how):
        self.image_shape_, good = tuple(images.shape[1:]), labels >= 0
        self.inner_ = self._detector()
        inputs = self.inner_._inputs(self._cut(images), masks=None if masks is None else self._cut(masks))
        self.inner_._learn(*inputs, **how)
        scores = self.anomaly_score(images[good])
        self.offset_ = -float(np.quantile(scores, 1 - self.nu, method="higher"))
        return self

    def _detector(self):
        given = {"nu": self.nu, "seed": self.seed, "device": self.device} | (self.settings or {})
        return recipes.detector(self.method, (self.image_shape_[0], self.tile, self.tile), **given)

    def _cut(self, images) -> torch.Tensor:
        """Tiles (n, C, tile, tile) side by side that cover the images."""
        rows, columns = tiles.tiles(images.shape[2], images.shape[3], self.tile, 0)
        side, images = self.tile, images[:]
        return torch.cat([images[:, :, top : top + side, left : left + side] for top in rows for left in columns])

    def scores_and_maps(self, X):
        """(N,) scores of the worst tiles, (N, H, W) maps."""
        images = as_images(X, channels=self.image_shape_[0])
        pairs = [tiles.score_in_tiles(image, self._of_tiles, self.tile) for image in images]
        return np.array([scores.max() for _, scores in pairs], np.float32), np.stack([heat for heat, _ in pairs])

    def _of_tiles(self, some):
        return self.inner_.scores_and_maps(some)[::-1]

    def anomaly_score(self, X) -> np.ndarray:
        """(N,) float32, higher = more anomalous."""
        return self.scores_and_maps(X)[0]

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps."""
        return self.scores_and_maps(X)[1]

    def to(self, device):
        """The detector on ``device``."""
        self.inner_.to(device)
        return self

    def _state(self):
        arrays, fitted = self.inner_._state()
        return arrays, {"inner": fitted, "offset": self.offset_, "image_shape": self.image_shape_}

    def _restore(self, arrays, fitted):
        self.image_shape_, self.offset_ = tuple(fitted["image_shape"]), fitted["offset"]
        self.inner_ = self._detector()
        self.inner_._restore(arrays, fitted["inner"])

"""Where things stand today: no training, only a memory of what good patches look like to a pretrained network.

Source: Cohen and Hoshen 2020 (SPADE), Roth et al. 2022 (PatchCore). Taught in: chapter 06.
"""

import copy

import numpy as np
import torch
from scipy import ndimage
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from . import augment, calibration, networks, training
from .checks import as_images, as_labels, check_option
from .estimator import DeepDetector, network_state, parameters, restore_network
from .scores import ScoreMixin


@parameters
class PatchNeighbours(ScoreMixin, BaseEstimator):
    r"""How far is each patch from the nearest good one? A memory bank of features, and nothing is learnt.

    .. math:: s(x, p) = \min_{m \in M} \lVert \phi_p(x) - m \rVert

    Features :math:`\phi_p` are the outputs of some ``layers`` of a frozen network, each averaged over 3×3 places and
    brought to the first one's grid; the bank M holds ``bank`` patches of good images, drawn at ``subsample`` "random"
    or as a "coreset": one after another the patch farthest from those chosen, out of ten times as many random ones.
    The score of an image is that of its worst patch. scikit-learn searches. Source: Roth et al. 2022, without their
    reweighting of the image score.

    Parameters: network, a name of :data:`fcdd.networks.NETWORKS` or a module that is a sequence of layers;
    network_options, for :func:`fcdd.networks.build`; layers, their places in it; sigma, the blur of heatmaps in px; nu,
    the share of good images outside; batch_size; seed; device. Fitted: bank_ (bank, d), offset_, network_.
    """

    network: str | nn.Module = "fcdd_squeezenet"
    network_options: dict | None = None
    layers: tuple = (7, 10)
    bank: int = 5000
    subsample: str = "random"
    sigma: float = 4.0
    nu: float = 0.1
    batch_size: int = 16
    seed: int = 0
    device: str = "auto"

    to = DeepDetector.to
    _images = DeepDetector._images

    def fit(self, X, y=None, *, masks=None, held_out: float | None = None, folds: int = 0, groups=None):
        """Fills the bank with patches of the images (N, C, H, W) that are not labelled -1; ``masks`` are not used.

        The threshold cannot come from them, as patches in the bank have distance 0: unless it is said how, a fifth is
        held out, or four folds where they are few (:func:`fcdd.calibration.choose`). With ``held_out=0`` nothing is an
        outlier until :meth:`calibrate`. The rest as in :meth:`fcdd.detectors.FCDD.fit`.
        """
        how = {"held_out": held_out or 0, "folds": folds}
        if held_out is None and not folds:
            how = calibration.choose(int((as_labels(y, len(X)) >= 0).sum()), self.nu)
        return super().fit(X, y, masks=masks, groups=groups, **how)

    def _inputs(self, X, y=None, masks=None):
        images, labels = as_images(X), as_labels(y, len(X))
        check_option("subsample", self.subsample, ("random", "coreset"))
        if self.bank < 1:
            raise ValueError(f"expected a bank of at least one patch, got bank={self.bank}")
        return images[labels >= 0], labels[labels >= 0], None

    def _learn(self, images, labels, masks):
        self.device_, self.image_shape_ = training.pick_device(self.device), tuple(images.shape[1:])
        self.network_ = self._build(self.network_options or {})
        kind = self.network_.normalisation or "standard"
        self.normalisation_ = augment.fit_normalisation(images, kind).to(self.device_)
        generator = Generator().manual_seed(int(self.seed))
        patches = self._sample(images, generator)
        self._remember(coreset(patches, self.bank, generator) if self.subsample == "coreset" else patches)
        self.offset_ = -np.inf  # nothing is an outlier until calibrated
        return self

    def anomaly_score(self, X) -> np.ndarray:
        """(N,) float32, the distance of the worst patch, higher = more anomalous."""
        return self.distances(X).max((1, 2))

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: the distances, enlarged bilinearly to input resolution and blurred by sigma."""
        maps = torch.from_numpy(self.distances(X))[:, None]
        maps = F.interpolate(maps, self.image_shape_[1:], mode="bilinear")[:, 0].numpy()
        return ndimage.gaussian_filter(maps, self.sigma, axes=(1, 2))

    def distances(self, X) -> np.ndarray:
        """(N, u, v) float32: each patch's distance to the nearest one of the bank."""
        features = map(self._features, self._images(X).split(self.batch_size))
        near = [self.search_.kneighbors(f.flatten(0, 2).numpy())[0].reshape(f.shape[:3]) for f in features]
        return np.concatenate(near).astype(np.float32)

    def _state(self):
        arrays, fitted = network_state(self)
        return arrays | {"bank": self.bank_}, fitted

    def _restore(self, arrays, fitted):
        restore_network(self, arrays, fitted)
        self._remember(torch.from_numpy(arrays["bank"]))

    def _remember(self, bank: Tensor):
        self.bank_ = bank.numpy()
        self.search_ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self.bank_)

    def _build(self, options: dict) -> nn.Module:
        """The layers that are needed, initialised by ``seed`` where there are no weights, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.seed))
            given = isinstance(self.network, nn.Module)
            network = self.network if given else networks.build(self.network, self.image_shape_[0], **options)
        if not self.layers or not 0 <= min(self.layers) <= max(self.layers) < len(network):
            raise ValueError(f"expected layers from 0 to {len(network) - 1} of the network, got {self.layers}")
        kept = nn.Sequential(*copy.deepcopy(list(network)[: max(self.layers) + 1]))
        kept.normalisation = getattr(network, "normalisation", None)
        return kept.requires_grad_(False).eval().to(self.device_, memory_format=torch.channels_last)

    def _features(self, images: Tensor) -> Tensor:
        """Patch features (n, u, v, d) of a batch, on the CPU."""
        x, taken = self.normalisation_(images.to(self.device_)).contiguous(memory_format=torch.channels_last), {}
        with torch.inference_mode():
            for place, layer in enumerate(self.network_):
                x = layer(x)
                if place in self.layers:  # averaged at once, as the next layer may work in place
                    taken[place] = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            maps = [taken[place] for place in self.layers]
            size = maps[0].shape[2:]
            maps = [m if m.shape[2:] == size else F.interpolate(m, size, mode="bilinear") for m in maps]
            return torch.cat(maps, 1).permute(0, 2, 3, 1).float().cpu()

    def _sample(self, images: Tensor, generator: Generator) -> Tensor:
        """Random patches (k, d), equally many of each image, so that no more than the bank lies in memory."""
        wanted = self.bank * (10 if self.subsample == "coreset" else 1)
        each, parts = -(-wanted // len(images)), []
        for batch in images.split(self.batch_size):
            features = self._features(batch).flatten(1, 2)
            # Without replacement: the places with the smallest random numbers.
            places = torch.rand(features.shape[:2], generator=generator).argsort(1)[:, :each]
            parts.append(features.gather(1, places[..., None].expand(-1, -1, features.shape[2])).flatten(0, 1))
        patches = torch.cat(parts)
        return patches[torch.randperm(len(patches), generator=generator)[:wanted]]


def coreset(patches: Tensor, count: int, generator: Generator) -> Tensor:
    """``count`` of the patches (k, d) that leave none far away: greedily the farthest from those chosen so far."""
    chosen = [int(torch.randint(len(patches), (1,), generator=generator))]
    squares, nearest = patches.square().sum(1), torch.full((len(patches),), torch.inf)
    while len(chosen) < min(count, len(patches)):
        last = chosen[-1]
        nearest = torch.minimum(nearest, squares + squares[last] - 2 * patches @ patches[last])
        nearest[last] = -torch.inf
        chosen.append(int(nearest.argmax()))
    return patches[chosen]

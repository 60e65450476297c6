"""Where things stand today: no training, only a memory of what good patches look like to a pretrained network.

Source: Cohen and Hoshen 2020 (SPADE), Roth et al. 2022 (PatchCore). Taught in: chapter 06.
"""

import copy
import warnings

import numpy as np
import torch
from scipy import ndimage
from sklearn.base import BaseEstimator
from torch import Generator, Tensor, nn

from . import augment, calibration, features, networks, training
from .checks import as_images, as_labels, check_option
from .estimator import DeepDetector, good, network_state, parameters, restore_network
from .memory import halving
from .mobilenet import Joined
from .receptive import ReceptiveField, regrid
from .scores import ScoreMixin


@parameters
class PatchNeighbours(ScoreMixin, BaseEstimator):
    r"""How far is each patch from the nearest good one? A memory bank of features, and nothing is learnt.

    .. math:: s(x, p) = \min_{m \in M} \lVert \phi_p(x) - m \rVert

    Features :math:`\phi_p` are the outputs of some ``layers`` of a frozen network, each averaged over 3×3 places and
    brought to the first one's grid; the bank M holds ``bank`` patches of good images, drawn at ``subsample`` "random"
    or as a "coreset": one after another the patch farthest from those chosen, out of ten times as many random ones.
    Source: Roth et al. 2022, without their reweighting of the image score.

    Parameters: network, a name of :data:`fcdd.networks.NETWORKS` or a module that is a sequence of layers;
    network_options, for :func:`fcdd.networks.build`; layers, their places in it, by default the network's own or those
    in ``LAYERS``; whiten, whether a unit of distance means as much in every direction in which good patches vary
    (:func:`fcdd.features.whitening`); top, the share of patches whose mean distance is the score of an image (None: the
    worst patch's); sigma, the blur of heatmaps in px; nu, the share of good images outside; batch_size; seed; device.
    Defaults of whiten, top and sigma were chosen on good images with drawn defects (``benchmarks/choose_features.py``).
    Fitted: bank_ (bank, d), offset_, network_.
    """

    network: str | nn.Module = "fcdd_mobilenet"
    network_options: dict | None = None
    layers: tuple | None = None
    bank: int = 8000
    subsample: str = "random"
    whiten: bool = True
    sigma: float = 6.0
    top: float | None = 0.02
    nu: float = 0.1
    batch_size: int = 16
    seed: int = 0
    device: str = "auto"

    to = DeepDetector.to
    _images = DeepDetector._images

    def fit(self, X, y=None, *, masks=None, held_out=None, folds: int = 0, groups=None, **watch):
        """Fills the bank with patches of the images (N, C, H, W) that are not labelled -1; ``masks`` are not used.

        The threshold cannot come from them, as patches in the bank have distance 0: unless it is said how, a fifth is
        held out, or four folds where they are few (:func:`fcdd.calibration.choose`). With ``held_out=0`` nothing is an
        outlier until :meth:`calibrate`. The rest as in :meth:`fcdd.detectors.FCDD.fit`.
        """
        how = {"held_out": held_out or 0, "folds": folds}
        if held_out is None and not folds:
            X = as_images(X)
            how = calibration.choose(int((as_labels(y, len(X)) >= 0).sum()), self.nu)
        return super().fit(X, y, masks=masks, groups=groups, **how, **watch)

    def _inputs(self, X, y=None, masks=None):
        images = as_images(X)
        labels = as_labels(y, len(images))
        check_option("subsample", self.subsample, ("random", "coreset"))
        if self.bank < 1:
            raise ValueError(f"expected a bank of at least one patch, got bank={self.bank}")
        if self.top is not None and not 0 < self.top <= 1:
            raise ValueError(f"expected a share top in (0, 1], or None for the worst patch, got {self.top}")
        return good(images, labels), labels[labels >= 0], None

    def _learn(self, images, labels, masks):
        self.device_, self.image_shape_ = training.pick_device(self.device), tuple(images.shape[1:])
        self.network_ = self._build(self.network_options or {})
        kind = self.network_.normalisation or "standard"
        self.normalisation_ = augment.fit_normalisation(images, kind).to(self.device_)
        wanted, generator = self.bank * (10 if self.subsample == "coreset" else 1), Generator()

        def sampled(size):
            return features.sample(self._features, images, wanted, generator.manual_seed(int(self.seed)), size).cpu()

        patches = halving(sampled, self.batch_size)
        self._remember(coreset(patches, self.bank, generator) if self.subsample == "coreset" else patches)
        self.offset_ = -np.inf  # nothing is an outlier until calibrated
        return self

    def anomaly_score(self, X) -> np.ndarray:
        """(N,) float32, the mean distance of the patches that are farthest, higher = more anomalous."""
        return self._highest(torch.from_numpy(self.distances(X))[:, None]).numpy()

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: the distances, enlarged linearly from where the patches lie, blurred by sigma."""
        return self._enlarged(torch.from_numpy(self.distances(X))[:, None])

    def scores_and_maps(self, X):
        """Both, with the distances computed once."""
        maps = torch.from_numpy(self.distances(X))[:, None]
        return self._highest(maps).numpy(), self._enlarged(maps)

    def _highest(self, maps: Tensor) -> Tensor:
        return maps.amax((1, 2, 3)) if self.top is None else features.highest(maps, self.top)

    def _enlarged(self, maps: Tensor) -> np.ndarray:
        maps = regrid(maps, self.network_.field, ReceptiveField(1, 1, 0.0), self.image_shape_[1:])[:, 0].numpy()
        return ndimage.gaussian_filter(maps, self.sigma, axes=(1, 2))

    def distances(self, X) -> np.ndarray:
        """(N, u, v) float32: each patch's distance to the nearest one of the bank."""
        images = self._images(X)

        def near(size):
            features = map(self._features, images.split(size))
            return torch.cat([nearest(self.whiten_(each), self.memory_).cpu() for each in features]).numpy()

        return halving(near, self.batch_size)

    def _state(self):
        arrays, fitted = network_state(self)
        return arrays | {"bank": self.bank_}, fitted | {"whiten": self.whiten}

    def _restore(self, arrays, fitted):
        if "whiten" not in fitted:  # a file from before there were these two
            self.whiten, self.top = False, None
        restore_network(self, arrays, fitted)
        self._remember(torch.from_numpy(arrays["bank"]))

    def _remember(self, bank: Tensor):
        self.bank_, self.whiten_ = bank.numpy(), nn.Identity()
        if self.whiten:
            self.whiten_ = nn.utils.skip_init(nn.Linear, *[bank.shape[1]] * 2).requires_grad_(False)
            self.whiten_.weight.data, self.whiten_.bias.data = features.whitening(bank)
        self.memory_ = self.whiten_(bank).to(self.device_)
        self.whiten_.to(self.device_)

    def _build(self, options: dict) -> nn.Module:
        """The layers that are needed, initialised by ``seed`` where there are no weights, on the device."""
        name = self.network if isinstance(self.network, str) else ""
        if name == "fcdd_mobilenet" and options.get("weights") not in (None, "imagenet"):
            text = "name the network of these weights: network='fcdd_squeezenet' is the default no more"
            warnings.warn(text, DeprecationWarning, stacklevel=4)
            name = "fcdd_squeezenet"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.seed))
            network: nn.Module = networks.build(name, self.image_shape_[0], **options) if name else self.network
        layers = [layer for layer in network._modules.values() if layer is not None]
        own = layers[0] if isinstance(layers[0], Joined) else None
        places = self.layers or (own.places if own else LAYERS.get(name, ()))
        offsets = own.offsets if own and places == own.places else None
        kept = Joined(copy.deepcopy(list(own or layers)), places, offsets)
        kept.normalisation = getattr(network, "normalisation", None)
        return kept.requires_grad_(False).eval().to(self.device_, memory_format=torch.channels_last)

    def _features(self, images: Tensor) -> Tensor:
        """Patch features (n, u, v, d) of a batch, on the device."""
        return features.at_places(self.network_, self.normalisation_(images.to(self.device_)))


LAYERS = {"fcdd_squeezenet": (7, 10), "fcdd_vgg11bn": (7, 14)}  # where none are named
BLOCK = 2048  # patches whose distances to the whole bank lie in memory at once


def nearest(patches: Tensor, bank: Tensor) -> Tensor:
    """Distances of patches (..., d) to the nearest one of the bank (k, d), shape (...).

    Which one is nearest, a matrix product tells, block by block, about the bank's middle, so that it rounds little; how
    far it is, their difference.
    """
    bank, flat = bank - (middle := bank.mean(0)), patches.flatten(0, -2) - middle
    squares = bank.square().sum(1) / 2
    with torch.no_grad():
        places = torch.cat([torch.addmm(squares, block, bank.T, alpha=-1).argmin(1) for block in flat.split(BLOCK)])
        return (flat - bank[places]).norm(dim=1).view(patches.shape[:-1])


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

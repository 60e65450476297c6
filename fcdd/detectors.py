"""The five deep detectors: each a network, an objective and a score, and nothing else.

What they share is in :mod:`fcdd.estimator`. Taught in: chapters 02 to 05.
"""

import numpy as np
import torch
from torch import nn

from . import augment, features, objectives, receptive, stacking, training
from .augment import of_each_row
from .checks import check_option
from .estimator import DeepDetector, parameters, refuse_collapse
from .mobilenet import Joined
from .networks import Reconstruction

__all__ = ["FCDD", "HSC", "Autoencoder", "DeepSAD", "DeepSVDD", "away_from_zero", "refuse_collapse"]


@parameters
class _CenterMixin:
    """Deep SVDD's and Deep SAD's fixed center, and the pretraining that gives it a meaning."""

    network: str | nn.Module = "fmnist_lenet"
    pretrain_epochs: int = 0
    epochs: int = 10
    learning_rate: float = 1e-4
    normalisation: str = "unit"

    def _before(self, members, batches, bar):
        if self.pretrain_epochs:
            # The encoder inside the autoencoder is network_ itself, so what it learns cannot get lost in between.
            autoencoders = [Reconstruction(m.network_, m.image_shape_, m.seed, m.device_) for m in members]
            with stacking.stacked(autoencoders) as network:
                training.train(network, mean_error, batches, self._schedule(self.pretrain_epochs), bar=bar)
        for member, images in zip(members, batches.images.chunk(len(members)), strict=True):
            z = training.forward(member.network_, images, member.normalisation_, member.device_)
            member.center_, member.radius_ = away_from_zero(z.mean(0)).to(member.device_), 0.0
        self.center_ = torch.stack([member.center_ for member in members])
        self.radius_ = self.center_.new_zeros(len(members))

    def _score(self, z):
        return objectives.deep_svdd(z, self._center(z))

    def _center(self, z):
        """The center; during training, when there is one for each member of a stack, that of each row."""
        return self.center_ if self.center_.ndim == 1 else of_each_row(self.center_, z)

    def _after(self, scores):
        if not self.radius_:
            self.radius_ = float(np.sqrt(-self.offset_))

    def _rounding(self):
        return float((10 * torch.finfo(torch.float32).eps * self.center_.norm()) ** 2)


def away_from_zero(center: torch.Tensor, epsilon: float = 0.1) -> torch.Tensor:
    """Moves components closer to 0 than ``epsilon`` to ±``epsilon``: zero weights must not reach the center.

    Source: Ruff et al. 2018, proposition 1 and the official code. A component of exactly 0 goes to +``epsilon``.
    """
    return torch.where(center.abs() < epsilon, torch.where(center < 0, -epsilon, epsilon), center)


def mean_error(errors, y=None, masks=None):
    """Mean squared error of each image: (N, C, H, W) → (N,). The autoencoder's loss and score."""
    return errors.flatten(1).mean(1)


@parameters
class DeepSVDD(_CenterMixin, DeepDetector):
    r"""Deep support vector data description: pulls all images to one point of latent space.

    .. math:: \min_W \frac1n \sum_i \lVert \phi(x_i; W) - c \rVert^2

    or, with ``objective="soft-boundary"``, :math:`R^2 + \frac{1}{\nu n} \sum_i \max(0, \lVert \phi(x_i; W) - c \rVert^2
    - R^2)`. Source: Ruff et al. 2018, *Deep One-Class Classification*. Taught in: chapter 02.

    Parameters: network, a name of :data:`fcdd.networks.NETWORKS` or a module (use one without biases);
    network_options, for :func:`fcdd.networks.build`; objective; nu, the share of training images outside;
    pretrain_epochs of autoencoding first; warmup_epochs before the radius moves; epochs, batch_size, learning_rate,
    decay and milestones, weight_decay, optimizer; normalisation ("lcn", "standard", "unit", "imagenet"; a pretrained
    network brings its own); augmentation, True for :func:`fcdd.augment.papers_recipe`, or a name in
    :data:`fcdd.augment.RECIPES`; seed; device. Epochs and learning rate were chosen on three classes of Fashion-MNIST
    (``benchmarks/constructors.py``). Fitted: center_ (d,), radius_, offset_, network_, history_, the losses.
    """

    objective: str = "one-class"
    warmup_epochs: int = 5

    def _check(self):
        super()._check()
        check_option("objective", self.objective, ("one-class", "soft-boundary"))
        if self.objective == "soft-boundary" and self.warmup_epochs >= self.epochs:
            got = f"{self.warmup_epochs} and {self.epochs}: the radius would never move"
            raise ValueError(f"expected warmup_epochs below epochs, got {got}; train for longer or lower warmup_epochs")

    def _loss(self, z, y, masks):
        if self.objective == "one-class":
            return self._score(z)
        return objectives.soft_boundary(z, self._center(z), of_each_row(self.radius_, z), self.nu)

    def _after_batch(self, epoch, outputs):
        if self.objective == "soft-boundary" and epoch >= self.warmup_epochs:
            distances = self._score(outputs).sqrt().unflatten(0, (len(self.radius_), -1))
            self.radius_ = torch.quantile(distances, 1 - self.nu, 1)


@parameters
class DeepSAD(_CenterMixin, DeepDetector):
    r"""Deep semi-supervised anomaly detection: Deep SVDD that also pushes labelled anomalies away.

    .. math:: \min_W \frac{1}{n+m} \Big( \sum_i \lVert \phi(x_i) - c \rVert^2
              + \eta \sum_j \big(\lVert \phi(\tilde x_j) - c \rVert^2\big)^{\tilde y_j} \Big)

    Without labels it is Deep SVDD. Source: Ruff et al. 2020, *Deep Semi-Supervised Anomaly Detection*.
    Taught in: chapter 03. Parameters and fitted attributes as in :class:`DeepSVDD`; eta weighs the labelled images.
    """

    learns_from_anomalies = True
    eta: float = 1.0

    def _loss(self, z, y, masks):
        return objectives.deep_sad(z, self._center(z), y, self.eta)


@parameters
class HSC(DeepDetector):
    r"""Hypersphere classifier: cross-entropy with a radial probability, trained against outlier exposure.

    .. math:: \min_W \frac1n \sum_i (1 - a_i)\, h(\phi(x_i)) - a_i \log\big(1 - e^{-h(\phi(x_i))}\big),
              \quad h(z) = \sqrt{\lVert z \rVert^2 + 1} - 1

    with a = 1 for anomalous images. Source: Ruff et al. 2020, *Rethinking Assumptions in Deep Anomaly Detection*.
    Taught in: chapter 04. Parameters as in :class:`DeepSVDD`; exposure, a source of outliers that replaces half of the
    nominal images of each batch, exposure_limit and exposure_without as in :func:`fcdd.exposure.source`, the latter
    also a data set whose overlapping classes are left out; norm is h, a name in :data:`fcdd.objectives.NORMS`. With
    objective "bce" or "focal" a linear layer gives one logit, by which the paper's plain classifiers rank.
    """

    learns_from_anomalies = True
    network: str | nn.Module = "hsc_cnn28"
    objective: str = "hypersphere"
    norm: str = "pseudo-huber"
    exposure: object = "photographs"
    exposure_limit: int | None = None
    exposure_without: object = None
    epochs: int = 20
    learning_rate: float = 1e-2
    optimizer: str = "sgd"
    decay: float = 0.9
    augmentation: bool | str = True

    def _check(self):
        super()._check()
        check_option("objective", self.objective, ("hypersphere", "bce", "focal"))
        check_option("norm", self.norm, objectives.NORMS)

    def _with_head(self, network):
        return network if self.objective == "hypersphere" else nn.Sequential(network, nn.LazyLinear(1))

    def _loss(self, z, y, masks):
        if self.objective == "hypersphere":
            return objectives.hypersphere(z, y, self.norm)
        return objectives.bce(z, y) if self.objective == "bce" else objectives.focal(z, y)

    def _score(self, z):
        return objectives.hypersphere_distance(z, self.norm) if self.objective == "hypersphere" else z[:, 0]


@parameters
class FCDD(DeepDetector):
    r"""Fully convolutional data description: the classifier's distance becomes a map, and the map the explanation.

    .. math:: \min_W \frac1n \sum_i (1 - a_i)\, \overline{A(X_i)} - a_i \log\big(1 - e^{-\overline{A(X_i)}}\big),
              \quad A(X) = \sqrt{\phi(X)^2 + 1} - 1

    with a = 1 for anomalous images and the bar the mean over the map. With ``masks``, with exposure "confetti-masks" or
    with objective "pixels" (the paper's choice for MVTec-AD, where outliers then count as anomalous in each pixel) the
    pixel-wise objective :func:`fcdd.objectives.fcdd_pixelwise` is used. Source: Liznerski et al. 2021, *Explainable
    Deep One-Class Classification*. Taught in: chapter 05.

    Parameters as in :class:`HSC`; sigma is the width of the Gaussian in :func:`fcdd.receptive.upsample`, in pixels;
    top, the share of the map with the highest values whose mean is the score of an image (None: all of it, the bar
    above). What is "auto" depends on the images (:mod:`fcdd.auto`): below 64 px the paper's settings for Fashion-MNIST;
    above, a head is learnt on frozen features with exposure "feature-noise" (:mod:`fcdd.features`), where an epoch is
    30 steps, images labelled -1 are further outliers, and the mean of the highest 2 % of the map is the score: sigma,
    top and schedule were chosen on good images with drawn defects. Fitted: resolved_, what "auto" stood for; field_,
    the receptive field of a map pixel.
    """

    learns_from_anomalies = True
    learns_from_masks = True
    network: str | nn.Module = "auto"
    objective: str = "image"
    exposure: object = "auto"
    exposure_limit: int | None = None
    exposure_without: object = None
    epochs: int = 20
    sigma: float | str | None = "auto"
    top: float | str | None = "auto"
    batch_size: int | str = "auto"
    learning_rate: float | str = "auto"
    decay: float | str = "auto"
    optimizer: str = "auto"
    normalisation: str = "auto"
    augmentation: bool | str = "auto"

    def _check(self):
        super()._check()
        if self.sigma not in (None, "auto") and self.sigma <= 0:
            raise ValueError(f"expected sigma > 0, or None for the default, got {self.sigma}")
        if self.top not in (None, "auto") and not 0 < self.top <= 1:
            raise ValueError(f"expected a share top in (0, 1], or None for the mean of the map, got {self.top}")
        check_option("objective", self.objective, ("image", "pixels"))

    def _masks(self, masks, images, labels):
        pixels = self.objective == "pixels" or (isinstance(self.exposure, str) and self.exposure == "confetti-masks")
        blank_or_full = (labels < 0)[:, None, None, None].expand(-1, 1, *images.shape[2:])
        return blank_or_full if masks is None and pixels else masks

    def _check_output(self, network):
        self.field_ = receptive.receptive_field(network)
        if len(self.output_shape_) != 3 or self.output_shape_[0] != 1:
            got = f"{self.output_shape_}; use an fcdd_* network"
            raise ValueError(f"expected a network whose output is a map (1, u, v), got {got}")
        size, side = self.output_shape_[1:], self.image_shape_[1:]
        if size[0] > side[0] or size[1] > side[1]:
            got = f"{size}: a map pixel must see a region of the image; use less padding"
            raise ValueError(f"expected a map no larger than the images of {side} px, got {got}")

    def _on_features(self) -> bool:
        return isinstance(exposure := self._setting("exposure"), str) and exposure == "feature-noise"

    def _trained(self):
        return self.network_[2] if self._on_features() else self.network_

    def _batches(self, images, labels, masks):
        if not self._on_features():
            return super()._batches(images, labels, masks)
        if not isinstance(self.network_[0], Joined):
            got = f"{self._setting('network')}; use network='fcdd_mobilenet', or another exposure"
            raise ValueError(f"expected a network with features for exposure 'feature-noise', got {got}")
        chosen = {"seed": int(self.seed), "batch_size": self._setting("batch_size"), "top": self._setting("top") or 1.0}
        chosen["augment"] = augment.recipe(self._setting("augmentation"))
        return features.gather(
            self.network_.eval(), self.normalisation_.to(self.device_), images, labels, masks, **chosen
        )

    def _loss(self, outputs, y, masks):
        if self._on_features():
            return features.loss(outputs, y)
        if masks is None:
            return objectives.fcdd(outputs, y)
        return objectives.fcdd_pixelwise(self._upsample(outputs), masks)

    def _score(self, outputs):
        return features.highest(objectives.pseudo_huber(outputs), self._setting("top"))

    def _upsample(self, outputs):
        size, sigma = self.image_shape_[1:], self._setting("sigma")
        return receptive.upsample(objectives.pseudo_huber(outputs), self.field_, size, sigma)

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: the map A(X), upsampled by the receptive field to input resolution."""
        return self._forward(X, self._upsample)[:, 0]

    def scores_and_maps(self, X):
        """``anomaly_score(X)`` and ``anomaly_map(X)``, from one pass through the network."""
        outputs = torch.from_numpy(self._forward(X, nn.Identity()))
        return self._score(outputs).numpy(), self._upsample(outputs)[:, 0].numpy()


@parameters
class Autoencoder(DeepDetector):
    r"""Baseline: what a narrow autoencoder of nominal images cannot reproduce is anomalous.

    Score: mean squared error :math:`\frac1m \lVert x - \hat x \rVert^2`; heatmap: the squared error of each pixel.
    Taught in: chapter 02 (as pretraining) and 08. Parameters as in :class:`DeepSVDD`.
    """

    network: str | nn.Module = "fmnist_lenet"

    def _build(self, options):
        return Reconstruction(super()._build(options), self.image_shape_, self.seed, self.device_)

    _loss = _score = staticmethod(mean_error)

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: squared reconstruction error, mean over channels."""
        return self._forward(X, lambda errors: errors.mean(1))

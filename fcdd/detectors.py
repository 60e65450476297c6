"""The deep detectors: thin estimators, each a network, an objective and a score.

All follow scikit-learn: constructors only store, ``score_samples`` is higher for more normal images,
``decision_function`` is ≥ 0 for inliers, ``predict`` gives +1 or -1, fitted attributes end in ``_``.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from . import augment, explain, exposure, networks, objectives, receptive, stacking, training
from .checks import as_images, as_labels, as_masks, check_option

# A keyword-only constructor that only stores, as scikit-learn asks for; its parameters are the annotated fields.
parameters = dataclass(kw_only=True, eq=False, repr=False)


class ScoreMixin(OutlierMixin):
    """Scores and verdicts in scikit-learn's signs, from ``anomaly_score`` and the threshold ``offset_``."""

    def score_samples(self, X) -> np.ndarray:
        """(N,) float32, higher = more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X) -> np.ndarray:
        """(N,) ``score_samples`` minus ``offset_``: ≥ 0 for inliers; a share ``nu`` of those that set it is below."""
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """(N,) +1 for inliers, -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)


@parameters
class _DeepDetector(ScoreMixin, BaseEstimator):
    """What the five share. A detector adds ``_loss``, ``_score`` and, where needed, what happens before and after."""

    nu: float = 0.1
    network_options: dict | None = None
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    decay: float = 1.0
    milestones: tuple = ()
    weight_decay: float = 1e-6
    optimizer: str = "adam"
    normalisation: str = "lcn"
    augmentation: bool | str = False
    seed: int = 0
    device: str = "auto"

    # Not parameters here: only HSC and FCDD are trained with outliers, and they and Deep SAD with labelled anomalies.
    exposure = None
    learns_from_anomalies = False

    def fit(self, X, y=None, *, masks=None):
        """Learns what is nominal.

        X: (N, C, H, W) uint8 or float in [0, 1]; y: (N,) labels +1 nominal, 0 unlabelled, -1 anomalous, or None
        (all unlabelled); Deep SVDD and the autoencoder leave labelled anomalies out; masks: (N, 1, H, W), non-zero on
        anomalous pixels, for FCDD's pixel-wise loss. Returns self. Raises ValueError for input of another shape, type
        or range, and RuntimeError if the network has learnt a constant.
        """
        data = self._inputs(X, y, masks)
        with training.progress(self._all_epochs(), f"{type(self).__name__}, {self.epochs} epochs") as bar:
            _fit_stack([self], [data], bar)
        return self

    def _inputs(self, X, y=None, masks=None) -> tuple:
        """The images, labels and masks to learn from, checked, and the parameters with them."""
        images, labels = as_images(X), as_labels(y, len(X))
        if masks is not None and not isinstance(self, FCDD):
            raise ValueError(f"expected no masks: only FCDD learns from masks, {type(self).__name__} does not")
        self._check()
        masks = self._masks(as_masks(masks, images, labels), images, labels)
        if not self.learns_from_anomalies:
            images, labels = images[labels >= 0], labels[labels >= 0]
        return images, labels, masks

    def _start(self, images, labels, masks) -> training.Batches:
        """Makes the network and the normalisation; returns the source of training batches."""
        self.device_ = training.pick_device(self.device)
        self.image_shape_ = tuple(images.shape[1:])
        self.network_ = self._build()
        # Pretrained layers demand the normalisation that they were trained with.
        kind = getattr(self.network_, "normalisation", None) or self.normalisation
        self.normalisation_ = augment.fit_normalisation(images[labels >= 0], kind)
        return self._batches(images, labels, masks)

    def _finish(self, nominal):
        """The threshold, from the scores of the nominal training images."""
        scores = self.anomaly_score(nominal)
        refuse_collapse(scores, type(self).__name__, self._rounding())
        self.offset_ = -float(np.quantile(scores, 1 - self.nu))
        self._after(scores)

    def _batches(self, images, labels, masks) -> training.Batches:
        """The source of training batches, on the device, its random stream begun by ``seed``."""
        batches = training.Batches(
            images.to(self.device_),
            labels.to(self.device_),
            self.normalisation_.to(self.device_),
            torch.Generator(self.device_).manual_seed(int(self.seed)),
            masks=None if masks is None else masks.to(self.device_),
            augment=augment.recipe(self.augmentation),
        )
        if self.exposure is not None:
            batches.images = augment.as_uint8(batches.images)  # as all sources of outliers are
            channels, *size = self.image_shape_
            batches.exposure = exposure.source(
                self.exposure,
                channels,
                tuple(size),
                seed=int(self.seed),
                limit=self.exposure_limit,
                without=self.exposure_without,
                nominal=images[labels >= 0],
                device=self.device_,
            )
        return batches

    def anomaly_score(self, X) -> np.ndarray:
        """(N,) float32, higher = more anomalous."""
        images = self._images(X)
        return training.forward(self.network_, images, self.normalisation_, self.device_, head=self._score).numpy()

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps at input resolution: how much each pixel moves the score (gradient)."""
        images = self._images(X)
        return explain.gradient_maps(self.network_, self._score, images, self.normalisation_, self.device_)

    def save(self, path):
        """Writes parameters, weights and thresholds to one safetensors file."""
        from .export import save

        save(self, path)

    @classmethod
    def load(cls, path):
        """The detector that :meth:`save` wrote, on the CPU. Raises ValueError if it is of another class."""
        from .export import load

        return load(path, cls)

    def _images(self, X):
        check_is_fitted(self, "network_")
        return as_images(X, channels=self.image_shape_[0], size=self.image_shape_[1:])

    def _check(self):
        if not 0 < self.nu <= 1:
            raise ValueError(f"expected 0 < nu <= 1, got {self.nu}")

    def _build(self) -> nn.Module:
        """The network, initialised by ``seed`` without touching the global random state, on the device."""
        channels, *size = self.image_shape_
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.seed))
            # A module is copied: fit must not change what it was given, nor go on from an earlier fit.
            given, options = isinstance(self.network, nn.Module), self.network_options or {}
            network = copy.deepcopy(self.network) if given else networks.build(self.network, channels, **options)
            network = self._with_head(network)
            self.output_shape_ = tuple(networks.first_forward(network, channels, tuple(size))[1:])
        self._check_output(network)
        return network.to(self.device_, memory_format=torch.channels_last)

    def _with_head(self, network) -> nn.Module:
        """The network as trained: a classifier adds its logit."""
        return network

    def _check_output(self, network):
        if len(self.output_shape_) != 1:
            raise ValueError(
                f"expected a network whose output is a vector (d,), got {self.output_shape_}; "
                "use a *_lenet or a network with a dense head, hsc_*"
            )

    def _schedule(self, epochs: int | None = None) -> training.Schedule:
        names = ("batch_size", "learning_rate", "optimizer", "decay", "milestones", "weight_decay")
        return training.Schedule(epochs or self.epochs, **{name: getattr(self, name) for name in names})

    def _masks(self, masks, images, labels):
        """What is anomalous in each image, or None if the objective asks for whole images only."""
        return masks

    def _all_epochs(self) -> int:
        return self.epochs + getattr(self, "pretrain_epochs", 0)

    def _before(self, members, batches, bar):
        """Before training, for all members of a stack at once: centers, pretraining."""

    def _after_batch(self, epoch, outputs):
        """After every step: the radius of soft-boundary Deep SVDD."""

    def _after(self, scores):
        """After training: what follows from the training scores."""

    def _rounding(self) -> float:
        """Scores below this are rounding errors of a network that maps every image to the center."""
        return 0.0


class _CenterMixin:
    """Deep SVDD's and Deep SAD's fixed center, and the pretraining that gives it a meaning."""

    def _before(self, members, batches, bar):
        if self.pretrain_epochs:
            # The encoder inside the autoencoder is network_ itself, so what it learns cannot get lost in between.
            autoencoders = [with_decoder(m.network_, m.image_shape_, m.seed, m.device_) for m in members]
            with stacking.together(autoencoders) as network:
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


def of_each_row(values: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """``values`` (M, ...), one for each member of a stack, spread over the rows of ``z`` (M·B, ...), B for each."""
    return values.repeat_interleave(len(z) // len(values), 0)


def away_from_zero(center: torch.Tensor, epsilon: float = 0.1) -> torch.Tensor:
    """Moves components closer to 0 than ``epsilon`` to ±``epsilon``: zero weights must not reach the center.

    Source: Ruff et al. 2018, proposition 1 and the official code. A component of exactly 0 goes to +``epsilon``.
    """
    return torch.where(center.abs() < epsilon, torch.where(center < 0, -epsilon, epsilon), center)


class Reconstruction(nn.Module):
    """An encoder with its mirror: (N, C, H, W) images in, squared reconstruction errors of the same shape out."""

    stackable = True  # nothing here mixes channels, so that images of several models may lie side by side

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return (self.decoder(self.encoder(x)) - x) ** 2


def with_decoder(encoder, image_shape, seed: int, device) -> Reconstruction:
    """``encoder`` with a mirrored decoder initialised by ``seed``, on the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        decoder = networks.decoder(encoder, image_shape)
    return Reconstruction(encoder, decoder).to(device, memory_format=torch.channels_last)


def mean_error(errors, y=None, masks=None):
    """Mean squared error of each image: (N, C, H, W) → (N,). The autoencoder's loss and score."""
    return errors.flatten(1).mean(1)


def refuse_collapse(scores, name: str, rounding: float = 0.0) -> None:
    """A network that has learnt a constant is refused, whatever its AUROC may say: ties and rounding can rank, too.

    ``scores`` (N,) of the training images. Raises RuntimeError if fewer than a tenth of them are distinct, if they
    vary by less than float32 resolves, or if all are below ``rounding``, the square of what float32 resolves at the
    center. Taught in: chapter 02.
    """
    distinct, spread = len(np.unique(scores)), float(np.std(scores))
    tied = len(scores) > 10 and distinct < len(scores) // 10
    flat = len(scores) > 1 and spread <= 1e-6 * float(np.abs(scores).max())
    if tied or flat or not np.isfinite(scores).all() or np.abs(scores).max() < rounding:
        raise RuntimeError(
            f"{name} collapsed: the scores of {len(scores)} training images have {distinct} distinct values, the "
            f"largest {np.max(scores):.3g}, and deviate by {spread:.3g}. Networks for Deep SVDD need unbounded "
            "activations and no biases (bias=False, the *_lenet networks); HSC and FCDD need outliers (exposure=...)"
        )


@parameters
class DeepSVDD(_CenterMixin, _DeepDetector):
    r"""Deep support vector data description: pulls all images to one point of latent space.

    .. math:: \min_W \frac1n \sum_i \lVert \phi(x_i; W) - c \rVert^2

    or, with ``objective="soft-boundary"``, :math:`R^2 + \frac{1}{\nu n} \sum_i \max(0, \lVert \phi(x_i; W) - c \rVert^2
    - R^2)`. Source: Ruff et al. 2018, *Deep One-Class Classification*. Taught in: chapter 02.

    Parameters: network, a name of :data:`fcdd.networks.NETWORKS` or a module (use one without biases);
    network_options, for :func:`fcdd.networks.build`; objective;
    nu, the share of training images outside; pretrain_epochs of autoencoding first; warmup_epochs before the radius
    moves; epochs, batch_size, learning_rate, decay and milestones, weight_decay, optimizer; normalisation ("lcn",
    "standard", "unit", "imagenet"; a pretrained network brings its own); augmentation, True
    for :func:`fcdd.augment.papers_recipe`, or a name in :data:`fcdd.augment.RECIPES`; seed; device. Fitted: center_
    (d,), radius_, offset_, network_ and history_, the loss of each epoch.
    """

    network: str | nn.Module = "fmnist_lenet"
    objective: str = "one-class"
    pretrain_epochs: int = 0
    warmup_epochs: int = 10
    normalisation: str = "unit"

    def _check(self):
        super()._check()
        check_option("objective", self.objective, ("one-class", "soft-boundary"))

    def _loss(self, z, y, masks):
        if self.objective == "soft-boundary":
            return objectives.soft_boundary(z, self._center(z), of_each_row(self.radius_, z), self.nu)
        return objectives.deep_svdd(z, self._center(z))

    def _after_batch(self, epoch, outputs):
        if self.objective == "soft-boundary" and epoch >= self.warmup_epochs:
            distances = self._score(outputs).sqrt().unflatten(0, (len(self.radius_), -1))
            self.radius_ = torch.quantile(distances, 1 - self.nu, 1)


@parameters
class DeepSAD(_CenterMixin, _DeepDetector):
    r"""Deep semi-supervised anomaly detection: Deep SVDD that also pushes labelled anomalies away.

    .. math:: \min_W \frac{1}{n+m} \Big( \sum_i \lVert \phi(x_i) - c \rVert^2
              + \eta \sum_j \big(\lVert \phi(\tilde x_j) - c \rVert^2\big)^{\tilde y_j} \Big)

    Without labels it is Deep SVDD. Source: Ruff et al. 2020, *Deep Semi-Supervised Anomaly Detection*.
    Taught in: chapter 03. Parameters and fitted attributes as in :class:`DeepSVDD`; eta weighs the labelled images.
    """

    learns_from_anomalies = True
    network: str | nn.Module = "fmnist_lenet"
    eta: float = 1.0
    pretrain_epochs: int = 0
    normalisation: str = "unit"

    def _loss(self, z, y, masks):
        return objectives.deep_sad(z, self._center(z), y, self.eta)


@parameters
class HSC(_DeepDetector):
    r"""Hypersphere classifier: cross-entropy with a radial probability, trained against outlier exposure.

    .. math:: \min_W \frac1n \sum_i (1 - a_i)\, h(\phi(x_i)) - a_i \log\big(1 - e^{-h(\phi(x_i))}\big),
              \quad h(z) = \sqrt{\lVert z \rVert^2 + 1} - 1

    with a = 1 for anomalous images. Source: Ruff et al. 2020, *Rethinking Assumptions in Deep Anomaly Detection*.
    Taught in: chapter 04. Parameters as in :class:`DeepSVDD`; exposure is a source of outliers (see
    :func:`fcdd.exposure.source`) that replaces half of the nominal images of each batch; exposure_limit keeps only that
    many of its images; exposure_without leaves out the classes that overlap the data set named, or the classes named.
    norm is h, a name in :data:`fcdd.objectives.NORMS`. With objective "bce" or "focal" a linear layer gives one logit
    instead, the plain classifier of the paper's comparison; it is ranked by that logit.
    """

    learns_from_anomalies = True
    network: str | nn.Module = "hsc_cnn28_w"
    objective: str = "hypersphere"
    norm: str = "pseudo-huber"
    exposure: object = "photographs"
    exposure_limit: int | None = None
    exposure_without: object = None
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
class FCDD(_DeepDetector):
    r"""Fully convolutional data description: the classifier's distance becomes a map, and the map the explanation.

    .. math:: \min_W \frac1n \sum_i (1 - a_i)\, \overline{A(X_i)} - a_i \log\big(1 - e^{-\overline{A(X_i)}}\big),
              \quad A(X) = \sqrt{\phi(X)^2 + 1} - 1

    with a = 1 for anomalous images and the bar the mean over the map. With ``masks``, with exposure "confetti-masks" or
    with objective "pixels" (the paper's choice for MVTec-AD, where outliers then count as anomalous in each pixel) the
    pixel-wise objective :func:`fcdd.objectives.fcdd_pixelwise` is used.
    Source: Liznerski et al. 2021, *Explainable Deep One-Class Classification*. Taught in: chapter 05.
    Parameters as in :class:`HSC`, with the paper's optimiser for Fashion-MNIST; sigma is the width of the Gaussian in
    :func:`fcdd.receptive.upsample`, in pixels.
    Fitted: field_, the receptive field of a map pixel.
    """

    learns_from_anomalies = True
    network: str | nn.Module = "fcdd_cnn28_w"
    objective: str = "image"
    exposure: object = "photographs"
    exposure_limit: int | None = None
    exposure_without: object = None
    sigma: float | None = 1.2
    learning_rate: float = 1e-2
    decay: float = 0.98
    optimizer: str = "sgd"
    augmentation: bool | str = True

    def _check(self):
        super()._check()
        if self.sigma is not None and self.sigma <= 0:
            raise ValueError(f"expected sigma > 0, or None for the default, got {self.sigma}")
        check_option("objective", self.objective, ("image", "pixels"))

    def _masks(self, masks, images, labels):
        pixels = self.objective == "pixels" or (isinstance(self.exposure, str) and self.exposure == "confetti-masks")
        if masks is not None or not pixels:
            return masks
        return (labels < 0)[:, None, None, None].expand(-1, 1, *images.shape[2:])

    def _check_output(self, network):
        self.field_ = receptive.receptive_field(network)
        if len(self.output_shape_) != 3 or self.output_shape_[0] != 1:
            raise ValueError(
                f"expected a network whose output is a map (1, u, v), got {self.output_shape_}; use an fcdd_* network"
            )
        if any(m > side for m, side in zip(self.output_shape_[1:], self.image_shape_[1:], strict=True)):
            raise ValueError(
                f"expected a map no larger than the images of {self.image_shape_[1:]} px, got "
                f"{self.output_shape_[1:]}: a map pixel must see a region of the image; use less padding"
            )

    def _loss(self, outputs, y, masks):
        if masks is None:
            return objectives.fcdd(outputs, y)
        return objectives.fcdd_pixelwise(self._upsample(outputs), masks)

    def _score(self, outputs):
        return objectives.pseudo_huber(outputs).flatten(1).mean(1)

    def _upsample(self, outputs):
        return receptive.upsample(objectives.pseudo_huber(outputs), self.field_, self.image_shape_[1:], self.sigma)

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: the map A(X), upsampled by the receptive field to input resolution."""
        images = self._images(X)
        return training.forward(self.network_, images, self.normalisation_, self.device_, head=self._upsample)[
            :, 0
        ].numpy()


@parameters
class Autoencoder(_DeepDetector):
    r"""Baseline: what a narrow autoencoder of nominal images cannot reproduce is anomalous.

    Score: mean squared error :math:`\frac1m \lVert x - \hat x \rVert^2`; heatmap: the squared error of each pixel.
    Taught in: chapter 02 (as pretraining) and 08. Parameters as in :class:`DeepSVDD`.
    """

    network: str | nn.Module = "fmnist_lenet"

    def _build(self):
        return with_decoder(super()._build(), self.image_shape_, self.seed, self.device_)

    def _loss(self, errors, y, masks):
        return mean_error(errors)

    def _score(self, errors):
        return mean_error(errors)

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps: squared reconstruction error, mean over channels."""
        images = self._images(X)
        return training.forward(
            self.network_, images, self.normalisation_, self.device_, head=lambda errors: errors.mean(1)
        ).numpy()


def fit_all(detectors: Sequence, X: Sequence, y: Sequence | None = None, *, limit: int | None = None, title=None):
    """Fits several deep detectors, each to its own images, in the time of a few: networks that are alike are stacked.

    X, y: one entry for each detector, as in ``fit``. Each gets the weights, center, threshold and history that ``fit``
    would give it, up to rounding. Detectors are stacked if they differ in nothing but seed, source of outliers and
    images, of which there must be as many; those that cannot be stacked (:class:`fcdd.stacking.Stack`) are trained one
    after another. ``limit``: the size of a stack, by default as many as fit into memory and are faster so
    (:func:`fcdd.stacking.limit`). ``title`` stands beside the progress bar. Returns the detectors.
    Raises as ``fit`` does; then the detectors of the stack that failed are left unfitted, and those after it.
    Taught in: chapter 08.
    """
    detectors = list(detectors)
    for _ in fit_in_stacks(detectors, X, y, limit=limit, title=title):
        pass
    return detectors


def fit_in_stacks(
    detectors: Sequence, X: Sequence, y: Sequence | None = None, *, limit: int | None = None, title=None
) -> Iterator[list[int]]:
    """:func:`fit_all`, stack by stack: yields the places of the detectors of a stack as soon as they are fitted."""
    detectors, labels = list(detectors), [None] * len(X) if y is None else list(y)
    if not all(isinstance(detector, _DeepDetector) for detector in detectors):
        raise ValueError("expected deep detectors: DeepSVDD, DeepSAD, HSC, FCDD or Autoencoder")
    if not len(X) == len(labels) == len(detectors) == len({id(detector) for detector in detectors}):
        raise ValueError(
            f"expected images and labels for each of {len(detectors)} different detectors, "
            f"got {len(X)} and {len(labels)}"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 network, or None for the best, got {limit}")
    data = [detector._inputs(images, own) for detector, images, own in zip(detectors, X, labels, strict=True)]
    stacks = _stacks(detectors, data, limit)
    for detector in detectors:
        _forget(detector)
    title = title or f"{', '.join({type(d).__name__: 0 for d in detectors})}, {len(detectors)} models"
    with training.progress(sum(detector._all_epochs() for detector in detectors), title) as bar:
        for stack in stacks:
            _fit_or_split([detectors[k] for k in stack], [data[k] for k in stack], bar)
            yield stack


def _stacks(detectors, data, limit) -> list[list[int]]:
    """Which detectors to train at once, by their places in the list; a kind's stacks are of about one size."""
    kinds = {}
    for k, (detector, own) in enumerate(zip(detectors, data, strict=True)):
        kinds.setdefault(_kind(detector, own), []).append(k)
    stacks = []
    for places in kinds.values():
        size = _stack_size(detectors[places[0]], data[places[0]][0], limit) if len(places) > 1 else 1
        parts = np.array_split(places, -(-len(places) // size))
        stacks += [part.tolist() for part in parts]
    return stacks


def _kind(detector, data) -> tuple:
    """What detectors must have in common to be stacked."""
    images, _, masks = data
    own = ("seed", "exposure", "exposure_limit", "exposure_without")
    settings = {name: value for name, value in detector.get_params(deep=False).items() if name not in own}
    network = settings["network"]
    frozen = [p.requires_grad for p in network.parameters()] if isinstance(network, nn.Module) else None
    # Outliers that know where they are anomalous, others, or none.
    source = detector.exposure if isinstance(detector.exposure, str) and detector.exposure in exposure.PASTED else ""
    look = tuple(images.shape), images.dtype, masks is None, detector.exposure is None, source
    return type(detector), repr(settings), repr(frozen), *look


def _stack_size(detector, images, limit) -> int:
    """The limit of a stack of detectors like this one."""
    probe = copy.copy(detector)
    probe.device_, probe.image_shape_ = training.pick_device(probe.device), tuple(images.shape[1:])
    network = probe._build()
    if not stacking.stackable(network, probe.image_shape_):
        return 1
    # Images lie on the device twice for a moment, beside about as many outliers.
    data = 3 * images.numel() * images.element_size()
    return limit or stacking.limit(network, probe.image_shape_, probe.batch_size, data, probe.device_)


def _fit_or_split(members, data, bar) -> None:
    """Fits a stack; if it does not fit into the memory of a GPU, one half of it after the other."""
    done, half = bar.n, -(-len(members) // 2)
    try:
        return _fit_stack(members, data, bar)
    except torch.OutOfMemoryError:
        if half == len(members):
            raise
    torch.cuda.empty_cache()
    bar.update(done - bar.n)
    for part in (slice(half), slice(half, None)):
        _fit_or_split(members[part], data[part], bar)


def _fit_stack(members, data, bar) -> None:
    """Fits detectors of one kind at once, from their :meth:`_DeepDetector._inputs`; a single one in the same way."""
    try:
        batches = training.together([m._start(*own) for m, own in zip(members, data, strict=True)])
        lead = copy.copy(members[0])  # speaks for all of them: its center and radius are those of all members
        lead._before(members, batches, bar)
        with stacking.together([m.network_ for m in members]) as network:
            schedule = lead._schedule()
            histories = training.train(network, lead._loss, batches, schedule, after_batch=lead._after_batch, bar=bar)
        for k, (member, (images, labels, _)) in enumerate(zip(members, data, strict=True)):
            member.history_ = histories if len(members) == 1 else histories[k]
            if hasattr(lead, "radius_"):
                member.radius_ = float(lead.radius_[k])
            member._finish(images[labels >= 0])
    except BaseException:
        for member in members:
            _forget(member)
        raise


def _forget(detector) -> None:
    """Unfits it: what was fitted in part, or to other images, must not score."""
    for name in [name for name in vars(detector) if name.endswith("_") and not name.startswith("_")]:
        delattr(detector, name)

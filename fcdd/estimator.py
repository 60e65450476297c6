"""The template of the deep detectors: from images to a fitted network, its scores, heatmaps and files.

They follow scikit-learn: constructors only store, ``score_samples`` is higher for more normal images,
``decision_function`` is ≥ 0 for inliers, ``predict`` gives +1 or -1, fitted attributes end in ``_``.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from . import augment, auto, explain, exposure, networks, stacking, training
from .checks import as_images, as_labels, as_masks, check_seed, mark_labels
from .memory import halving
from .scores import ScoreMixin

# A keyword-only constructor that only stores, as scikit-learn asks for; its parameters are the annotated fields.
parameters = dataclass(kw_only=True, eq=False, repr=False)


@parameters
class DeepDetector(ScoreMixin, BaseEstimator):
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

    trains_in_epochs = True
    # Not parameters here: only HSC and FCDD train with outliers, they and Deep SAD with labels, only FCDD with masks.
    exposure = None
    learns_from_anomalies = learns_from_masks = False

    def anomaly_score(self, X) -> np.ndarray:
        """(N,) float32, higher = more anomalous."""
        return self._forward(X, self._score)

    def anomaly_map(self, X) -> np.ndarray:
        """(N, H, W) float32 heatmaps at input resolution: how much each pixel moves the score (gradient)."""
        arguments = (self._images(X), self.normalisation_, self.device_)
        return explain.gradient_maps(self.network_, self._score, *arguments, batch_size=self._setting("batch_size"))

    def to(self, device):
        """The detector with all that it computes with on ``device``, as :func:`fcdd.training.pick_device` names it."""
        self.device_ = training.pick_device(str(device))
        for name, value in vars(self).items():
            if hasattr(value, "to"):
                setattr(self, name, value.to(self.device_))
        return self

    def _setting(self, name: str):
        """A parameter, or what its "auto" was resolved to."""
        return getattr(self, "resolved_", {}).get(name, getattr(self, name))

    def _resolve(self, images):
        self.halved_ = getattr(self, "halved_", {})  # {"batch_size": n}, if fewer than was asked for
        self.resolved_ = auto.resolve(self.get_params(deep=False), tuple(images.shape[1:])) | self.halved_

    def _check(self):
        if not 0 < self.nu <= 1:
            raise ValueError(f"expected 0 < nu <= 1, got {self.nu}")
        check_seed(self.seed)

    def _with_head(self, network) -> nn.Module:
        """The network as trained: a classifier adds its logit."""
        return network

    def _check_output(self, network):
        if len(self.output_shape_) != 1:
            got = f"{self.output_shape_}; use a *_lenet or a network with a dense head, hsc_*"
            raise ValueError(f"expected a network whose output is a vector (d,), got {got}")

    def _masks(self, masks, images, labels):
        """What is anomalous in each image, or None if the objective asks for whole images only."""
        return masks

    def _before(self, members, batches, bar):
        """Before training, for all members of a stack at once: centers, pretraining."""

    def _after_batch(self, epoch, outputs):
        """After every step: the radius of soft-boundary Deep SVDD."""

    def _after(self, scores):
        """After training: what follows from the training scores."""

    def _rounding(self) -> float:
        """Scores below this are rounding errors of a network that maps every image to the center."""
        return 0.0

    def _inputs(self, X, y=None, masks=None) -> tuple:
        """The images, labels and masks to learn from, checked, and the parameters with them."""
        images = as_images(X)
        labels = as_labels(y, len(images))
        if masks is not None and not self.learns_from_masks:
            raise ValueError(f"expected no masks: only FCDD learns from masks, {type(self).__name__} does not")
        self._check()
        masks = as_masks(masks, images, labels)
        labels = mark_labels(labels, masks)
        masks = self._masks(masks, images, labels)
        if not self.learns_from_anomalies:
            images, labels = good(images, labels), labels[labels >= 0]
        return images, labels, masks

    def _learn(self, images, labels, masks, watch=None):
        watch = (watch or training.Watch()).begin(self, images, labels, masks)
        title = f"{type(self).__name__}{watch.part}, {self.epochs} epochs"
        with training.progress(self._all_epochs(), title, watch.verbose) as bar:
            fit_one(self, (images, labels, masks), bar, watch)
        return self

    def _start(self, images, labels, masks) -> training.Batches:
        """Makes the network and the normalisation; returns the source of training batches."""
        self.device_, self.image_shape_ = training.pick_device(self.device), tuple(images.shape[1:])
        self._resolve(images)
        self.network_ = self._build(self.network_options or {})
        # Pretrained layers demand the normalisation that they were trained with.
        kind = getattr(self.network_, "normalisation", None) or self._setting("normalisation")
        self.normalisation_ = augment.fit_normalisation(good(images, labels), kind)
        return self._batches(images, labels, masks)

    def _build(self, options: dict) -> nn.Module:
        """The network, initialised by ``seed`` without touching the global random state, on the device."""
        channels, *size = self.image_shape_
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.seed))
            # A module is copied: fit must not change what it was given, nor go on from an earlier fit.
            network, given = self._setting("network"), isinstance(self.network, nn.Module)
            network = copy.deepcopy(network) if given else networks.build(network, channels, **options)
            network = self._with_head(network)
            self.output_shape_ = tuple(networks.first_forward(network, channels, tuple(size))[1:])
        self._check_output(network)
        return network.to(self.device_, memory_format=torch.channels_last)

    def _batches(self, images, labels, masks) -> training.Batches:
        """The source of training batches, on the device, its random stream begun by ``seed``."""
        batches = training.Batches(
            images.to(self.device_),
            labels.to(self.device_),
            self.normalisation_.to(self.device_),
            torch.Generator(self.device_).manual_seed(int(self.seed)),
            masks=None if masks is None else masks.to(self.device_),
            augment=augment.recipe(self._setting("augmentation")),
        )
        if self.exposure is not None:
            batches.images = augment.as_uint8(batches.images)  # as all sources of outliers are
            channels, *size = self.image_shape_
            chosen = {"seed": int(self.seed), "limit": self.exposure_limit, "without": self.exposure_without}
            chosen |= {"nominal": good(images, labels), "device": self.device_}
            batches.exposure = exposure.source(self._setting("exposure"), channels, tuple(size), **chosen)
        return batches

    def _trained(self) -> nn.Module:
        """What of the network training sees."""
        return self.network_

    def _schedule(self, epochs: int | None = None) -> training.Schedule:
        names = ("batch_size", "learning_rate", "optimizer", "decay", "milestones", "weight_decay")
        return training.Schedule(epochs or self.epochs, **{name: self._setting(name) for name in names})

    def _all_epochs(self) -> int:
        return self.epochs + getattr(self, "pretrain_epochs", 0)

    def _finish(self, nominal):
        """The threshold, from the scores of the nominal training images."""
        scores = self.anomaly_score(nominal)
        different = exposure.distinct(nominal) if isinstance(nominal, torch.Tensor) else None
        refuse_collapse(scores, type(self).__name__, self._rounding(), different)
        self.offset_ = -float(np.quantile(scores, 1 - self.nu, method="higher"))  # at most a share nu is above it
        self._after(scores)

    def _images(self, X):
        check_is_fitted(self, "network_")
        return as_images(X, channels=self.image_shape_[0], size=self.image_shape_[1:])

    def _forward(self, X, head) -> np.ndarray:
        images, options = self._images(X), {"head": head, "batch_size": self._setting("batch_size")}
        return training.forward(self.network_, images, self.normalisation_, self.device_, **options).numpy()

    def _state(self) -> tuple[dict, dict]:
        """What a fitted network scores with: its weights and constants, and the center if there is one."""
        arrays, fitted = network_state(self)
        fitted |= {"history": self.history_, "radius": getattr(self, "radius_", None), "resolved": self.resolved_}
        return arrays | ({"center": self.center_.cpu().numpy()} if hasattr(self, "center_") else {}), fitted

    def _restore(self, arrays: dict, fitted: dict):
        self.resolved_ = fitted.get("resolved", {"top": None})  # of files from before there was "auto"
        restore_network(self, arrays, fitted)
        self.history_ = fitted["history"]
        if "center" in arrays:
            self.center_, self.radius_ = torch.from_numpy(arrays["center"]), fitted["radius"]
            if self.center_.shape != self.output_shape_:
                raise ValueError(f"expected a center of shape {self.output_shape_}, got {tuple(self.center_.shape)}")


def good(images, labels):
    """The images that are not labelled -1; where that is all of them, themselves, so that none need be read."""
    return images if bool((labels >= 0).all()) else images[labels >= 0]


def network_state(detector) -> tuple[dict, dict]:
    """The weights, normalisation and threshold of a detector with a network, as arrays and numbers."""
    normalisation = detector.normalisation_
    tensors = {f"network.{key}": value for key, value in detector.network_.state_dict().items()}
    tensors |= {"shift": normalisation.shift, "scale": normalisation.scale}
    fitted = {"offset": detector.offset_, "contrast": normalisation.contrast, "image_shape": detector.image_shape_}
    return {key: value.cpu().numpy() for key, value in tensors.items()}, fitted


def restore_network(detector, arrays: dict, fitted: dict) -> None:
    """The opposite of :func:`network_state`, on the CPU; pretrained weights come from the file."""
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    detector.device_, detector.image_shape_ = torch.device("cpu"), tuple(fitted["image_shape"])
    detector.normalisation_ = augment.Normalisation(fitted["contrast"], tensors["shift"], tensors["scale"])
    if any(part.shape != (detector.image_shape_[0], 1, 1) for part in detector.normalisation_[1:]):
        raise ValueError(f"expected shift and scale for {detector.image_shape_[0]} channels")
    options = detector.network_options or {}
    weights = {"weights": None} if "weights" in options else {}
    detector.network_ = detector._build(options | weights).eval()
    wanted = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    detector.network_.load_state_dict(wanted)
    detector.offset_ = fitted["offset"]


def fit_stack(members, data, bar, watch=None) -> None:
    """Fits detectors of one kind at once, from their :meth:`DeepDetector._inputs`; a single one in the same way."""
    try:
        batches = training.end_to_end([m._start(*inputs) for m, inputs in zip(members, data, strict=True)])
        lead = copy.copy(members[0])  # speaks for all of them: its center and radius are those of all members
        lead._before(members, batches, bar)
        with stacking.stacked([m._trained() for m in members]) as network:
            how = {"after_batch": lead._after_batch, "bar": bar, "watch": watch and replace(watch, detector=lead)}
            histories = training.train(network, lead._loss, batches, lead._schedule(), **how)
        for k, (member, (images, labels, _)) in enumerate(zip(members, data, strict=True)):
            member.history_ = histories if len(members) == 1 else histories[k]
            if hasattr(lead, "radius_"):
                member.radius_ = float(lead.radius_[k])
            member._finish(good(images, labels))
    except BaseException:
        for member in members:
            forget(member)
        raise


def fit_one(detector, inputs, bar, watch=None) -> None:
    """Fits a detector; where a GPU's memory is too small, anew with half the batch, which ``halved_`` then tells."""
    done, detector.halved_ = bar.n, {}
    detector._resolve(inputs[0])
    asked = detector._setting("batch_size")

    def fitted(batch_size):
        bar.update(done - bar.n)
        detector.halved_ = {} if batch_size == asked else {"batch_size": batch_size}
        fit_stack([detector], [inputs], bar, watch and watch.of(**detector.halved_))

    halving(fitted, asked, 2)


def forget(detector) -> None:
    """Unfits it: what was fitted in part, or to other images, must not score."""
    for name in [name for name in vars(detector) if name.endswith("_") and not name.startswith("_")]:
        delattr(detector, name)


def refuse_collapse(scores, name: str, rounding: float = 0.0, different=None) -> None:
    """A network that has learnt a constant is refused, whatever its AUROC may say: ties and rounding can rank, too.

    ``scores`` (N,) of the training images; ``different``, the places of one of each kind, as repeated images have equal
    scores by right. Raises RuntimeError if fewer than a tenth of the scores are distinct, if they vary by less than
    float32 resolves, or if all are below ``rounding``, that at the center, squared. Taught in: chapter 02.
    """
    scores = scores if different is None or len(different) < 2 else scores[different]
    distinct, spread = len(np.unique(scores)), float(np.std(scores))
    tied = len(scores) > 10 and distinct < len(scores) // 10
    flat = len(scores) > 1 and spread <= 1e-6 * float(np.abs(scores).max())
    if tied or flat or not np.isfinite(scores).all() or np.abs(scores).max() < rounding:
        raise RuntimeError(
            f"{name} collapsed: the scores of {len(scores)} training images have {distinct} distinct values, the "
            f"largest {np.max(scores):.3g}, and deviate by {spread:.3g}. Networks for Deep SVDD need unbounded "
            "activations and no biases (bias=False, the *_lenet networks); HSC and FCDD need outliers (exposure=...)"
        )

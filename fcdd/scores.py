"""What every detector shares: scores and verdicts in scikit-learn's signs, a threshold that is calibrated, files.

Knows no network. Taught in: chapter 00 (scores) and the page on thresholds.
"""

import warnings

import numpy as np
from sklearn.base import OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from . import calibration, files, stream, watch


class ScoreMixin(OutlierMixin):
    """A detector brings ``anomaly_score`` and ``offset_``; to be fitted ``_inputs`` and ``_learn``; to be saved
    ``_state`` and ``_restore``."""

    trains_in_epochs = False  # else ``_learn`` takes a Watch

    def fit(
        self, X, y=None, *, masks=None, held_out: float = 0.0, folds: int = 0, groups=None,
        callbacks=(), verbose: bool = True, checkpoint=None,
    ):  # fmt: skip
        """Learns what is nominal.

        X: (N, C, H, W) uint8 or float in [0, 1] (SVDD also (N, features)); y: (N,) labels +1 nominal, 0 unlabelled,
        -1 anomalous, or None (all unlabelled); masks: (N, 1, H, W), non-zero on anomalous pixels, for FCDD's pixel-wise
        loss; an unlabelled image whose mask marks something is anomalous.

        The threshold ``offset_`` leaves a share ``nu`` of the training images outside, and more of new good ones.
        ``held_out``, a share of the good images, is set aside to calibrate on (:meth:`calibrate`, at the rate ``nu``);
        ``folds``, for few images, fits as many more models, each to score the part that it has not seen. ``groups``
        (N,) keeps what is alike on one side. ``callbacks``, ``verbose`` and ``checkpoint``, a file from which a
        training that was cut off goes on, as in :class:`fcdd.watch.Watch`. Returns self. Raises ValueError for another
        shape, type or range, and for too few images to calibrate on; RuntimeError if a network has learnt a constant.
        """
        for name in ("calibration_", "calibration_scores_"):  # an earlier fit's promise is none of this one's
            self.__dict__.pop(name, None)
        watches = watch.watches(self, 1 + folds, callbacks, verbose, checkpoint)
        labels = None if y is None or groups is None else np.asarray(y)
        X, y, masks = self._inputs(X, y, masks)
        if labels is not None and len(labels) > len(y):  # some detectors leave labelled anomalies out
            groups = np.asarray(groups)[labels >= 0]
        nominal = np.asarray(y) >= 0
        if held_out and folds:
            raise ValueError("expected held_out or folds, got both; folds are for few images")
        if not held_out and not folds:
            return self._learn(X, y, masks, **watches[0])
        out = calibration.parts(nominal, self.seed, groups, share=held_out, count=folds)
        scored = np.any(out, axis=0)
        groups = None if groups is None else np.asarray(groups)[scored]
        # By folds nothing is guaranteed: there too few groups may keep a rate that as many images can.
        calibration.units(int(scored.sum()), None if folds else groups, self.nu)  # before hours of training
        scores = np.empty(len(nominal))
        for part, how in zip(out, watches[1:] or watches, strict=True):
            model = self if held_out else clone(self)
            model._learn(X[~part], y[~part], None if masks is None else masks[~part], **how)
            scores[part] = model.anomaly_score(X[part])
        if folds:
            self._learn(X, y, masks, **watches[0])
        return self._set_threshold(scores[scored], self.nu, groups, folds)

    def calibrate(self, X_good, fpr: float = 0.05, groups=None):
        """Sets ``offset_`` from good images (N, ...) not learnt from, for a rate ``fpr`` of false alarms.

        Promised is the mean over calibrations, if conditions stay the same; ``calibration_`` says it, with bounds for
        this detector, and prints as a sentence. ``groups`` (N,) names sheets, days or batches: it is then about images
        of a new one. Returns self. Raises ValueError where so few images can keep no such rate, naming the smallest
        that they can. See :mod:`fcdd.calibration`.
        """
        check_is_fitted(self)
        return self._set_threshold(self.anomaly_score(X_good), fpr, groups)

    def _set_threshold(self, scores, fpr, groups=None, folds=0):
        self.calibration_ = calibration.calibrate(scores, fpr, groups, folds)
        self.calibration_scores_ = np.sort(np.asarray(scores, np.float32))  # what later images are compared with
        self.offset_ = -self.calibration_.threshold
        return self

    def score_samples(self, X) -> np.ndarray:
        """(N,) higher = more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X) -> np.ndarray:
        """(N,) ``score_samples`` minus ``offset_``: ≥ 0 for inliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """(N,) +1 for inliers, -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def scores_and_maps(self, X) -> tuple[np.ndarray, np.ndarray]:
        """``anomaly_score(X)`` and ``anomaly_map(X)``; in one pass through the network where both come from one."""
        return self.anomaly_score(X), self.anomaly_map(X)

    def score_iter(self, images, maps: bool = False, batch_size: int = stream.BATCH):
        """Yields a :class:`fcdd.stream.Scored` (source, score, verdict, map) for each of ``images``: paths of pictures,
        or arrays (C, H, W) like those of ``fit``, from any iterable, however long; pictures are decoded ahead in
        threads. ``maps``: with heatmaps. Raises ValueError for a picture that cannot be read, naming it."""
        check_is_fitted(self, "image_shape_")
        for each in stream.stream(self, images, maps, batch_size):
            if each.problem:
                raise ValueError(each.problem)
            yield each

    def save(self, path) -> None:
        """Writes parameters, what was learnt and the threshold to one safetensors file, whole or not at all. Raises
        ValueError for a network given as a module or a kernel as a function: only named ones can be made again."""
        check_is_fitted(self)
        arrays, fitted = self._state()
        if calibrated := getattr(self, "calibration_", None):
            fitted["calibration"] = calibrated._asdict()
        if hasattr(self, "calibration_scores_"):
            arrays["calibration_scores"] = self.calibration_scores_
        fitted["pictures"] = getattr(self, "pictures_", None)
        files.write(path, type(self).__name__, self.get_params(deep=False), fitted, arrays)

    @classmethod
    def load(cls, path):
        """The detector that :meth:`save` wrote, on the CPU. Raises FileNotFoundError; ValueError if the file is none of
        ours or holds a detector of another class."""
        return load(path, cls)


def load(path, expected=ScoreMixin):
    """The detector in ``path``, of the class ``expected`` or one below it; classes are known once they are imported."""
    name, parameters, fitted, arrays = files.read(path)
    known = {cls.__name__: cls for cls in _below(ScoreMixin) if not cls.__name__.startswith("_")}
    if name not in known:
        text = f"{path} holds an unknown detector {name!r}; known: {', '.join(sorted(known))}"
        raise ValueError(f"{text}; import a class of your own before loading it")
    if not issubclass(known[name], expected):
        raise ValueError(f"{path} holds a {name}, expected a {expected.__name__}; call {name}.load")
    try:
        return _made_again(known[name](**parameters), fitted, arrays)
    except Exception as error:  # of Python, NumPy and PyTorch, where parts of a file do not fit together
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        told = f"{path} holds a {name} that cannot be made again ({why}); expected a file as save() writes it"
        raise ValueError(told) from error


def _made_again(detector, fitted: dict, arrays: dict):
    """The detector with what it had learnt, once it has judged something blank: what does not fit shows now."""
    calibrated, seen = fitted.pop("calibration", None), arrays.pop("calibration_scores", None)
    if pictures := fitted.pop("pictures", None):
        detector.pictures_ = dict(pictures)
    detector._restore(arrays, fitted)
    if calibrated:
        detector.calibration_ = calibration.Calibration(**calibrated)
    if seen is not None:  # files of older versions hold none
        detector.calibration_scores_ = seen
    judge, detector.offset_ = getattr(detector, "inner_", detector), float(detector.offset_)
    with warnings.catch_warnings(action="ignore"):  # of a table whose columns have names
        if hasattr(judge, "image_shape_"):
            judge.scores_and_maps(np.zeros((1, *judge.image_shape_), np.uint8))
        elif judge.kernel != "precomputed":
            judge.anomaly_score(np.zeros((1, judge.n_features_in_)))
    return detector


def _below(cls) -> list[type]:
    return [each for sub in cls.__subclasses__() for each in (sub, *_below(sub))]

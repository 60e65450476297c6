"""Many detectors at once: which may be stacked, and how many in a stack. Taught in: chapter 08."""

import copy
import warnings
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from . import exposure, stacking, training
from .estimator import DeepDetector, fit_one, fit_stack, forget


def fit_all(detectors: Sequence, X: Sequence, y: Sequence | None = None, *, stack=None, title=None, limit=None):
    """Fits several deep detectors, each to its own images, in the time of a few: networks that are alike are stacked.

    X, y: one entry for each detector, as in ``fit``. Each gets the weights, center, threshold and history that ``fit``
    would give it, up to rounding. Detectors are stacked if they differ in nothing but seed, source of outliers and
    images, of as many; others (see :class:`fcdd.stacking.Stack`) are trained one after another. ``stack``: how many in
    one, by default what fits into memory and is faster so (:func:`fcdd.stacking.stack_size`); ``limit`` is its old
    name. ``title`` stands beside the progress bar. Returns the detectors. Raises as ``fit`` does; then the stack that
    failed and those after it are left unfitted. Taught in: chapter 08.
    """
    if limit is not None:
        warnings.warn("fit_all(limit=...) is now fit_all(stack=...)", DeprecationWarning, stacklevel=2)
    detectors = list(detectors)
    list(fit_in_stacks(detectors, X, y, stack=limit if stack is None else stack, title=title))
    return detectors


def fit_in_stacks(
    detectors: Sequence, X: Sequence, y=None, *, stack: int | None = None, title=None, wanted: Collection | None = None
) -> Iterator[list[int]]:
    """:func:`fit_all`, stack by stack: yields the places of the detectors of a stack as soon as they are fitted.

    The last digits of a result depend on the size of the stack and the place in it, not on who else is there. To get
    the same digits for some of the detectors only, give all of them and say which are ``wanted``, by their places:
    stacks without one of them are left out, the others trained whole.
    """
    detectors, labels = list(detectors), [None] * len(X) if y is None else list(y)
    if not all(isinstance(detector, DeepDetector) for detector in detectors):
        raise ValueError("expected deep detectors: DeepSVDD, DeepSAD, HSC, FCDD or Autoencoder")
    if not len(X) == len(labels) == len(detectors) == len({id(detector) for detector in detectors}):
        got = f"{len(X)} and {len(labels)}"
        raise ValueError(f"expected images and labels for each of {len(detectors)} different detectors, got {got}")
    if stack is not None and stack < 1:
        raise ValueError(f"expected a stack of at least 1 network, or None for the best, got {stack}")
    data = [detector._inputs(*inputs) for detector, *inputs in zip(detectors, X, labels, strict=True)]
    stacks = [places for places in _stacks(detectors, data, stack) if wanted is None or set(wanted) & set(places)]
    members = [detectors[k] for places in stacks for k in places]
    for k, detector in ((k, detectors[k]) for places in stacks for k in places):
        forget(detector)
        detector._resolve(data[k][0])
    title = title or f"{', '.join({type(d).__name__: 0 for d in detectors})}, {len(detectors)} models"
    with training.progress(sum(detector._all_epochs() for detector in members), title) as bar:
        for places in stacks:
            _fit_or_split([detectors[k] for k in places], [data[k] for k in places], bar)
            yield places


def _stacks(detectors, data, stack: int | None) -> list[list[int]]:
    """Which detectors to train at once, by their places in the list; stacks of one kind are of about one size."""
    kinds = {}
    for k, (detector, inputs) in enumerate(zip(detectors, data, strict=True)):
        kinds.setdefault(_what_is_shared(detector, inputs), []).append(k)
    stacks = []
    for places in kinds.values():
        size = _stack_size(detectors[places[0]], data[places[0]][0], stack) if len(places) > 1 else 1
        stacks += [part.tolist() for part in np.array_split(places, -(-len(places) // size))]
    return stacks


def _what_is_shared(detector, data) -> tuple:
    """What detectors must have in common to be stacked."""
    images, _, masks = data
    free = ("seed", "exposure", "exposure_limit", "exposure_without")
    settings = {name: value for name, value in detector.get_params(deep=False).items() if name not in free}
    network = settings["network"]
    frozen = [p.requires_grad for p in network.parameters()] if isinstance(network, nn.Module) else None
    # Outliers that know where they are anomalous, others, or none.
    pasted = detector.exposure if isinstance(detector.exposure, str) and detector.exposure in exposure.PASTED else ""
    form = tuple(images.shape), images.dtype, masks is None, detector.exposure is None
    return type(detector), repr(settings), repr(frozen), pasted, *form


def _stack_size(detector, images, stack: int | None) -> int:
    """How many detectors like this one make a stack."""
    probe = copy.copy(detector)
    probe._resolve(images)
    probe.device_, probe.image_shape_ = training.pick_device(probe.device), tuple(images.shape[1:])
    network = probe._build(probe.network_options or {})
    if not stacking.stackable(network, probe.image_shape_):
        return 1
    # Images lie on the device twice for a moment, beside about as many outliers.
    data = 3 * images.numel() * images.element_size()
    return stack or stacking.stack_size(network, probe.image_shape_, probe._setting("batch_size"), data, probe.device_)


def _fit_or_split(members, data, bar) -> None:
    """Fits a stack; if it does not fit into the memory of a GPU, one half of it after the other."""
    if len(members) == 1:
        return fit_one(members[0], data[0], bar)
    done, half = bar.n, -(-len(members) // 2)
    try:
        return fit_stack(members, data, bar)
    except torch.OutOfMemoryError:
        pass  # out of the handler, whose error holds what filled the memory
    torch.cuda.empty_cache()
    bar.update(done - bar.n)
    for part in (slice(half), slice(half, None)):
        _fit_or_split(members[part], data[part], bar)

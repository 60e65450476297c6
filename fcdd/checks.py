"""What may come in: images, labels and masks, with errors that say what was expected, what came and how to mend it."""

import logging
import numbers
import os
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import layouts, pictures

MOST = 2e9  # bytes of pictures that are taken into memory at once


def as_images(X, name: str = "X", channels: int | None = None, size: tuple[int, int] | None = None):
    """``X`` as (N, C, H, W), uint8 or float32 in [0, 1]: an array or tensor; or a folder, files, or a sequence
    that yields images, which stay :class:`~fcdd.pictures.Pictures` where they take more than 2 GB.

    Of a folder, those of :func:`fcdd.layouts.recognise` that are good, unless a ``size`` says that they are to be
    judged: then all. Raises ValueError for another shape, dtype or range, NaN, and other channels or another size than
    those given, with the line of code that mends it; FileNotFoundError, :class:`~fcdd.pictures.PictureError`.
    """
    if isinstance(X, str | os.PathLike) or _yields_images(X):
        X = _as_pictures(X, channels or 3, size)
        if isinstance(X, pictures.Pictures):
            return X
    if not isinstance(X, Tensor) and not _numeric(X):
        how = f"; stack them: np.stack({name})" if isinstance(X, list | tuple) and X and _numeric(X[0]) else ""
        raise ValueError(f"expected {name} to be an array or tensor of numbers, got {type(X).__name__}{how}")
    turn, to_bytes = ("permute", ".to(torch.uint8)") if isinstance(X, Tensor) else ("transpose", ".astype('uint8')")
    tensor = X if isinstance(X, Tensor) else _tensor(np.asarray(X))
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or len(tensor) == 0:
        got = f"{tuple(tensor.shape)}{_axes(tensor.shape, name, turn)}"
        raise ValueError(f"expected {name} of shape (N, C, H, W) with N ≥ 1 and C = 1 (grey) or 3 (RGB), got {got}")
    if tensor.dtype != torch.uint8:
        if not tensor.is_floating_point():
            got = f"{tensor.dtype}; {_whole(tensor, name, name + to_bytes)}"
            raise ValueError(f"expected {name} as uint8 or float in [0, 1], got {got}")
        tensor = tensor.float()
        if bad := _places((~torch.isfinite(tensor)).flatten(1).any(1)):
            raise ValueError(f"expected finite {name}, found NaN or infinity in {len(bad)} images{_first(bad)}")
        low, high = tensor.aminmax()
        if low < 0 or high > 1:
            got = f"values from {low:.3g} to {high:.3g}; {_range(float(low), float(high), name)}"
            raise ValueError(f"expected float {name} in [0, 1], got {got}")
    got = (tensor.shape[1], tuple(tensor.shape[2:]))
    if (wanted := (channels or got[0], size or got[1])) != got:
        fitted = "like the images of fit, {} channels of {} px".format(*wanted)
        raise ValueError(f"expected {name} {fitted}, got {got[0]} of {got[1]}")
    return tensor


def _numeric(X) -> bool:
    return hasattr(X, "__array__") and np.asarray(X).dtype.kind in "uifb"


def _tensor(array: np.ndarray) -> Tensor:
    """Of any byte order, as PyTorch wants it."""
    native = np.float64 if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, requirements="CW"))


def _yields_images(X) -> bool:
    """A sequence of files or of Pillow's images, or one that decodes images when it is indexed; no list of arrays."""
    if isinstance(X, list | tuple):
        return bool(X) and isinstance(X[0], str | os.PathLike | Image.Image)
    return (
        hasattr(X, "__getitem__")
        and hasattr(X, "__len__")
        and not hasattr(X, "__array__")
        and not hasattr(X, "keys")
        and len(X) > 0
    )


def _as_pictures(X, channels: int, size):
    if isinstance(X, pictures.Pictures):
        images = X if size is None else replace(X, size=size, channels=channels)
    elif isinstance(X, str | os.PathLike) and size is None:
        layout = layouts.recognise(X)
        logging.getLogger("fcdd").log(logging.WARNING if layout.passed else logging.INFO, "%s", layout)
        images = layout.learn(None, channels)
    else:
        files = pictures.find(X).files if isinstance(X, str | os.PathLike) else X
        if not len(files):
            raise FileNotFoundError(f"expected pictures below {X}, found none")
        named = isinstance(files[0], str | os.PathLike)
        size = size or (pictures.shape(files) if named else pictures.size_of(files[0]))
        fit, white = (pictures.squeeze, pictures.white_of(files)) if named else (pictures.as_it_is, None)
        images = pictures.Pictures(files, size, channels, fit, white)
    return images[:] if np.prod(images.shape) <= MOST else images


def _axes(shape, name: str, turn: str) -> str:
    """How to bring the axes into order: the line is right where the sizes of the axes say what they are."""
    if len(shape) == 4 and shape[3] in (1, 3):
        return f"; bring the channels forward: {name}.{turn}(0, 3, 1, 2)"
    if len(shape) == 4 and 4 in (shape[1], shape[3]):
        colours = f"{name}[:, :3]" if shape[1] == 4 else f"{name}[..., :3].{turn}(0, 3, 1, 2)"
        return f"; leave the 4th channel out, if it is alpha: {colours}"
    if len(shape) == 3 and shape[0] in (1, 3):
        grey = f" (or {name}.reshape({shape[0]}, 1, {shape[1]}, {shape[2]}) if it is {shape[0]} grey ones)"
        return f"; one picture is a batch of one: {name}[None]" + (grey if shape[0] == 3 else "")
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return f"; one picture is a batch of one: {name}[..., :{min(shape[2], 3)}].{turn}(2, 0, 1)[None]"
    if len(shape) == 2:
        return f"; one grey picture: {name}[None, None]"
    return f"; add the channel axis, {name}[:, None]" if len(shape) == 3 else ""


def _whole(tensor: Tensor, name: str, as_bytes: str) -> str:
    """How to convert whole numbers: none of the ways wraps around."""
    if tensor.dtype == torch.bool:
        return f"make True white: {as_bytes} * 255"
    low, high = tensor.long().aminmax()
    if low < 0 or high > pictures.WHITES[-1]:
        return f"stretch them, all alike: ({name} - {name}.min()) / ({name}.max() - {name}.min())"
    if high <= 1:
        return f"make 1 white: {as_bytes} * 255"
    if high <= 255:
        return f"convert with {as_bytes}"
    white = next(white for white in pictures.WHITES if high <= white)
    return f"scale by the largest value that {white.bit_length()} bits hold: {name} / {white}"


def _range(low: float, high: float, name: str) -> str:
    if low > -0.05 and high < 1.05:
        return f"cut off what resampling left outside: {name}.clip(0, 1)"
    if low >= -1 and high <= 1:
        return f"they seem to lie in [-1, 1]: ({name} + 1) / 2"
    if low >= 0 and 16 <= high <= pictures.WHITES[-1]:
        white = next(white for white in pictures.WHITES if high <= white)
        return f"divide by {white}" + (" or pass uint8" if white == 255 else "") + f": {name} / {white}"
    return f"undo a normalisation, or stretch them, all alike: ({name} - {name}.min()) / ({name}.max() - {name}.min())"


def _places(which: Tensor) -> list[int]:
    return which.nonzero()[:, 0].tolist()


def _first(places: list[int]) -> str:
    return f", first at index {places[0]}"


def as_labels(y, n: int) -> Tensor:
    """``y`` as a (n,) int64 tensor of +1 nominal, 0 unlabelled, -1 anomalous; None means all unlabelled.

    Raises ValueError for another length, other values, or if no sample is left to be nominal.
    """
    if y is None:
        return torch.zeros(n, dtype=torch.int64)
    y = np.asarray(y)
    if y.shape != (n,):
        how = "; np.ravel(y)" if y.size == n else ""
        raise ValueError(f"expected one label for each of the {n} images, got y of shape {y.shape}{how}")
    expected = "expected labels +1 (nominal), 0 (unlabelled) or -1 (anomalous), got"
    if y.dtype == bool:
        raise ValueError(f"{expected} True/False; if True means anomalous: np.where(y, -1, 1)")
    if y.dtype.kind not in "iuf":
        raise ValueError(
            f"{expected} {y.tolist()[:5]}; for example: np.where(np.asarray(y) == {y.tolist()[0]!r}, 1, -1)"
        )
    values = np.unique(y).tolist()
    if strange := [value for value in values if value not in (1, 0, -1)]:
        raise ValueError(f"{expected} {strange[:5]}; for example: np.where(np.asarray(y) == {values[0]:g}, 1, -1)")
    if values == [0, 1]:
        how = "if 1 means anomalous: np.where(np.asarray(y) == 1, -1, 1)"
        raise ValueError(
            f"{expected} 0 and 1 alone; {how}; if 1 means good and 0 unknown, leave y out: all may be good"
        )
    if not (y >= 0).any():
        raise ValueError(f"expected at least one nominal (+1) or unlabelled (0) image, got {n} anomalous ones")
    return torch.from_numpy(y.astype(np.int64))


def as_masks(masks, images: Tensor, labels: Tensor | None = None) -> Tensor | None:
    """``masks`` as a boolean (N, 1, H, W) tensor of the images' size, True on anomalous pixels; None stays None.

    Raises ValueError for another number or size, and for images with the label -1 whose mask is empty.
    """
    if masks is None:
        return None
    masks = masks > 0 if isinstance(masks, Tensor) else torch.from_numpy(np.asarray(masks) > 0)
    masks = masks[:, None] if masks.ndim == 3 else masks
    expected = (len(images), 1, *images.shape[2:])
    if (got := tuple(masks.shape)) != expected:
        if got[:3] == (len(images), *images.shape[2:]):
            got = f"{got}; (masks > 0).any(-1)"
        elif got[::2] == expected[::2] and got[3] == expected[3]:
            got = f"{got}; (masks > 0).any(1)"
        raise ValueError(f"expected masks of shape {expected}, one for each image and of its size, got {got}")
    if labels is not None and (empty := _places((labels < 0) & ~masks.flatten(1).any(1))):
        raise ValueError(
            f"expected a mask for every anomalous image (-1), found {len(empty)} empty ones{_first(empty)}; "
            "mark the anomalous pixels, all of them where the whole image is anomalous"
        )
    return masks


def mark_labels(labels: Tensor, masks: Tensor | None) -> Tensor:
    """``labels`` (N,) with -1 for unlabelled images whose mask (N, 1, H, W) marks something.

    Raises ValueError for an image labelled nominal (+1) whose mask does, and if none is left to be nominal.
    """
    if masks is None:
        return labels
    marked = masks.flatten(1).any(1)
    if wrong := _places(marked & (labels > 0)):
        raise ValueError(
            f"expected blank masks for nominal images (+1), found {len(wrong)} that mark pixels{_first(wrong)}; "
            "label these images -1, or blank their masks"
        )
    labels = torch.where(marked, -1, labels)
    if not (labels >= 0).any():
        raise ValueError(f"expected at least one image without a defect, got {len(labels)} whose masks mark pixels")
    return labels


def check_seed(seed) -> None:
    """Raises ValueError unless the seed is a whole number, as results must be repeatable."""
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or seed < 0:
        how = "for another one each time: seed=int(np.random.default_rng().integers(2**31))"
        raise ValueError(f"expected a whole number from 0 on as seed, got {seed!r}; {how}")


def check_option(what: str, name: str, known) -> None:
    """Raises ValueError that lists what is ``known`` if ``name`` is not among it."""
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")

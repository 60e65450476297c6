"""What may come in: images, labels and masks, with errors that say what was expected, what came and how to mend it."""

import numpy as np
import torch
from torch import Tensor


def as_images(X, name: str = "X", channels: int | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """``X`` as a (N, C, H, W) tensor, uint8 or float32 in [0, 1]; arrays and tensors are taken.

    Raises ValueError for another shape, dtype or range, for NaN, and for channels or a size other than those given.
    """
    tensor = X if isinstance(X, Tensor) else torch.from_numpy(np.require(X, requirements="CW")) if _numeric(X) else None
    if tensor is None:
        raise ValueError(f"expected {name} to be an array or tensor of numbers, got {type(X).__name__}")
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or len(tensor) == 0:
        got = f"{tuple(tensor.shape)}" + ("; add the channel axis, X[:, None]" if tensor.ndim == 3 else "")
        raise ValueError(f"expected {name} of shape (N, C, H, W) with N ≥ 1 and C = 1 (grey) or 3 (RGB), got {got}")
    if tensor.dtype != torch.uint8:
        if not tensor.is_floating_point():
            how = "convert with .astype('uint8')"
            raise ValueError(f"expected {name} as uint8 or float in [0, 1], got {tensor.dtype}; {how}")
        tensor = tensor.float()
        if bad := _places((~torch.isfinite(tensor)).flatten(1).any(1)):
            raise ValueError(f"expected finite {name}, found NaN or infinity in {len(bad)} images{_first(bad)}")
        low, high = tensor.aminmax()
        if low < 0 or high > 1:
            raise ValueError(
                f"expected float {name} in [0, 1], got values from {low:.3g} to {high:.3g}; divide by 255 or pass uint8"
            )
    got = (tensor.shape[1], tuple(tensor.shape[2:]))
    if (wanted := (channels or got[0], size or got[1])) != got:
        fitted = "like the images of fit, {} channels of {} px".format(*wanted)
        raise ValueError(f"expected {name} {fitted}, got {got[0]} of {got[1]}")
    return tensor


def _numeric(X) -> bool:
    return hasattr(X, "__array__") and np.asarray(X).dtype.kind in "uifb"


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
        raise ValueError(f"expected one label for each of the {n} images, got y of shape {y.shape}")
    numbers = y.dtype.kind in "iuf"
    strange = [value for value in np.unique(y).tolist() if value not in (1, 0, -1)] if numbers else y.tolist()
    if strange:
        what = "True/False" if y.dtype == bool else strange[:5]
        raise ValueError(f"expected labels +1 (nominal), 0 (unlabelled) or -1 (anomalous), got {what}")
    if not (y >= 0).any():
        raise ValueError(f"expected at least one nominal (+1) or unlabelled (0) image, got {n} anomalous ones")
    return torch.as_tensor(y).long()


def as_masks(masks, images: Tensor, labels: Tensor | None = None) -> Tensor | None:
    """``masks`` as a boolean (N, 1, H, W) tensor of the images' size, True on anomalous pixels; None stays None.

    Raises ValueError for another number or size, and for images with the label -1 whose mask is empty.
    """
    if masks is None:
        return None
    masks = torch.as_tensor(np.asarray(masks)) if not isinstance(masks, Tensor) else masks
    masks = masks[:, None] if masks.ndim == 3 else masks
    expected = (len(images), 1, *images.shape[2:])
    if tuple(masks.shape) != expected:
        got = tuple(masks.shape)
        raise ValueError(f"expected masks of shape {expected}, one for each image and of its size, got {got}")
    masks = masks > 0
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


def check_option(what: str, name: str, known) -> None:
    """Raises ValueError that lists what is ``known`` if ``name`` is not among it."""
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")

"""What the file of a picture holds: one place that knows of orientation, bit depth, transparency and colour profiles.

Used by :mod:`fcdd.pictures`.
"""

import io
import os
import sys
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from .errors import DataError

WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
ORIENTATION = 0x0112  # the tag of EXIF and TIFF
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
TURNS |= {7: "TRANSVERSE", 8: "ROTATE_90"}


class PictureError(DataError):
    """A picture that cannot be read as it was meant; the message names the file and the remedy."""


def opened(file, use: Callable):
    """``use(image, file)`` of the opened picture; all that can go wrong becomes a PictureError with the file's name."""
    try:
        if hasattr(file, "__array__") and not isinstance(file, Image.Image):
            return use(_from_array(np.asarray(file)), file)
        # Pillow warns of large pictures, odd palettes and odd EXIF; what matters of it is refused here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(file, Image.Image):
                return use(file, file)
            with Image.open(file) as image:
                _refuse_pages(image)
                return use(image, file)
    except Exception as error:  # Pillow raises many kinds for damaged files
        path = isinstance(file, str | os.PathLike)
        name, why = file if path else getattr(file, "name", "an image"), str(error) or type(error).__name__
        remedy = "save it again as PNG of 8 or 16 bits, what is too large in parts"
        raise PictureError(f"{name}: cannot be read ({why}); {remedy}") from error


def _from_array(array: np.ndarray) -> Image.Image:
    array = array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] in (1, 3) else array
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    certain = array.dtype == np.uint8 or (array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1)
    if not certain or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"expected (C, H, W) uint8 or float in [0, 1], C = 1 or 3, got {array.dtype} {array.shape}")
    return Image.fromarray(array if array.dtype == np.uint8 else (array * 255).round().astype(np.uint8))


def _refuse_pages(image) -> None:
    """Several pages or frames are several pictures; small copies beside the picture itself (MPO, TIFF) are none."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if count > 1 and image.format == "TIFF":
        count -= sum(bool(image.seek(page) or image.tag_v2.get(254, 0) & 1) for page in range(count))
        image.seek(0)
    if count > 1:
        raise ValueError(f"it holds {count} pages or frames, expected one: save each as a file of its own")


def plain(image: Image.Image, file, white: float | None = None) -> Image.Image:
    """Upright, in sRGB, opaque; mode L or RGB."""
    numbers = deep(image, file)
    image.load()  # turns a TIFF, and takes its orientation away
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    if numbers is not None:
        white = white or numbers[1]
        image = Image.fromarray((numbers[0].clip(0, white) * np.float32(255 / white)).round().astype(np.uint8))
    grey = image.mode in ("1", "L", "LA")
    image = _in_srgb(on(image, "white"))
    image = image if image.mode == "L" else image.convert("L" if grey else "RGB")
    return image.transpose(Image.Transpose[turn]) if turn else image


def on(image: Image.Image, colour) -> Image.Image:
    """Without transparency: what people see on a ground of ``colour``. What lies hidden under it is gone."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa") and "transparency" not in image.info:
        return image
    image, profile = image.convert("RGBA"), image.info.get("icc_profile")
    if not image.getextrema()[3][1]:
        raise ValueError("every pixel is transparent")
    image = Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")
    image.info["icc_profile"] = profile
    return image


def _in_srgb(image: Image.Image) -> Image.Image:
    """Its colour profile applied; one that is damaged, or made for another mode, is left out, as viewers do."""
    if not image.info.get("icc_profile"):
        return image
    image = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError):
        return image


def deep(image: Image.Image, file) -> tuple[np.ndarray, float] | None:
    """The numbers of a picture of more than 8 bits, 0 = black, (H, W) or (H, W, 3), and the value that counts as white
    in it; None for one of 8 bits."""
    tags, tiles = getattr(image, "tag_v2", {}), getattr(image, "tile", None) or []
    raw = _raw(tiles[0]) if tiles else ""
    bits, inverted = max(tags.get(258, (1,))), tags.get(262) == 0
    if (bits > 8 and tags.get(284) == 2) or (bits <= 8 and max(tags.get(339, (1,))) == 2):
        raise ValueError(
            "a TIFF of signed bytes, or with more than 8 bits in separate planes"
        )  # taken wrongly by Pillow
    if image.mode[0] in "IF":
        array = np.asarray(image).astype(np.float32 if image.mode == "F" else np.int32)
    elif raw.startswith("RGB;16"):
        array = np.asarray(image) * np.int32(256) + _lower_bytes(file)
    elif raw.startswith(("LA;16", "RGBA;16")) and max(high for _, high in image.getextrema()[:-1]) < 64:
        raise ValueError("transparency in a picture that uses but a part of its 16 bits")
    else:
        return None
    low, high, floats = float(array.min()), float(array.max()), image.mode == "F"
    if not (low >= 0 and high <= 65535) or (floats and 1 < high < 16):
        raise ValueError(f"values from {low:.3g} to {high:.3g}, of which none is known to be black or white")
    full = image.format == "PPM" or (inverted and bits == 16)  # Pillow scales PPM itself
    known = 65535 if full else 2**bits - 1 if 8 < bits < 16 else 0
    white = known or next(white for white in ((1, *WHITES) if floats else WHITES) if high <= white)
    return (white - array if inverted else array), white


def _raw(tile) -> str:
    """How the bytes of a pixel lie in the file, in Pillow's words, as RGB;16B."""
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _lower_bytes(file) -> np.ndarray:
    """Of colours with 16 bits Pillow keeps the upper byte: the lower ones, by reading with the bytes exchanged."""
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    if hasattr(file, "seek"):
        file.seek(0)
    with Image.open(file) as image:
        for k, tile in enumerate(image.tile):
            raw = _raw(tile)[:-1] + other[_raw(tile)[-1]]
            image.tile[k] = tile._replace(args=raw if isinstance(tile.args, str) else (raw, *(tile.args or ())[1:]))
        return np.asarray(image)

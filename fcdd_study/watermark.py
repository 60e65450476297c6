"""A small watermark in the corner of images, as a photographer leaves it: a feature that explains too much.

Source of the experiment: Lapuschkin et al. 2019; Liznerski et al. 2021, section 4.3. Taught in: chapter 07.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fcdd.augment import as_float, as_uint8

TEXT = "©ph"
HEIGHT = 1 / 4  # of the letters' line, as a share of the image's height
MARGIN = 1 / 28  # to the left and lower edge


def watermark(images: Tensor, text: str = TEXT, opacity: float = 0.8) -> Tensor:
    """``images`` (N, C, H, W), uint8 or float in [0, 1], with white letters blended into the lower left corner.

    The letters grow with the image. Returns new images of the same type; nothing outside of :func:`box` changes.
    Raises ValueError for an opacity outside (0, 1] and for a text that does not fit into the image.
    """
    if not 0 < opacity <= 1:
        raise ValueError(f"expected an opacity above 0 and at most 1, got {opacity}")
    cover = opacity * letters(tuple(images.shape[2:]), text).to(images.device)
    marked = as_float(images) * (1 - cover) + cover
    return as_uint8(marked) if images.dtype == torch.uint8 else marked


def box(size: tuple[int, int], text: str = TEXT) -> Tensor:
    """(H, W) boolean, True in the smallest upright rectangle around the letters."""
    inked = letters(tuple(size), text) > 0
    return inked.any(1)[:, None] & inked.any(0)


def covered(images: Tensor, text: str = TEXT) -> Tensor:
    """``images`` with the watermark's box painted black, whether there is a mark or not."""
    return images.masked_fill(box(tuple(images.shape[2:]), text).to(images.device), 0)


@cache
def letters(size: tuple[int, int], text: str = TEXT) -> Tensor:
    """(H, W) float in [0, 1]: how much of each pixel the letters cover. Do not write to it: it is kept."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    height, width = size
    # Matplotlib brings this font along, so that the mark does not depend on the fonts of the machine.
    path = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    font = ImageFont.truetype(str(path), max(1, round(HEIGHT * height)))
    canvas = Image.new("L", (width, height))
    place = round(MARGIN * width), height - round(MARGIN * height)
    draw = ImageDraw.Draw(canvas)
    left, _, right, bottom = draw.textbbox(place, text, font, anchor="ls")
    draw.text((place[0] + place[0] - left, 2 * place[1] - bottom), text, 255, font, anchor="ls")
    if not text.strip() or right - left > width - 2 * place[0]:
        raise ValueError(f"expected a text that fits into {width} px, got {text!r}, {right - left} px wide")
    return torch.from_numpy(np.array(canvas)).float() / 255

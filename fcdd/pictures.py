"""The one place that says what counts as a picture, what a picture holds, and what a mask holds.

All that reads pictures goes through :func:`find`, :func:`read` or :func:`pixels`, and :func:`mask`. Taught in: the page
on the library.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from .decoding import ORIENTATION, TURNS, WHITES, PictureError, deep, on, opened, plain
from .errors import all_of
from .tiles import score_in_tiles, tiles

__all__ = [
    "SUFFIXES", "WHITES", "Found", "PictureError", "Pictures", "find", "mask", "pixels", "read", "score_in_tiles",
    "shape", "size_of", "small_defects", "tiles", "white_of",
]  # fmt: skip

SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".avif",
}  # fmt: skip
# Pictures of kinds that are not read: named as such, so that nobody takes them for judged.
UNREAD = {
    ".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".svg", ".pdf", ".exr", ".hdr", ".dcm",
    ".fits", ".jxl", ".tga", ".npy", ".npz",
}  # fmt: skip
TOOLS = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini", "system volume information"}
ALIKE = 1.02  # aspect ratios up to so many times as large are one
STAMP = "fcdd heatmap"  # in the software tag of what is drawn here, so that it is not judged as a picture later


# ---- what counts as a picture ----


@dataclass(frozen=True)
class Found:
    """The picture files below ``root``, sorted; what was passed over, by reason; the folders that were looked into."""

    root: Path
    files: list[Path]
    passed: dict[str, list[Path]]
    folders: list[Path]

    def __str__(self):
        return f"{len(self.files)} pictures in {self.root}" + said(self.passed)


def said(passed: dict[str, list[Path]]) -> str:
    """What was passed over, as the end of a sentence; nothing if nothing was."""
    some = {why: ", ".join(f.name for f in files[:3]) + ", …" * (len(files) > 3) for why, files in passed.items()}
    told = ", ".join(f"{len(passed[why])} {why} ({names})" for why, names in some.items())
    return f"; passed over: {told}" if told else ""


def find(path) -> Found:
    """The pictures at any depth below a folder, or the one file that ``path`` names.

    Passed over, and said: hidden files and folders (also ``._name`` of macOS and ``.ipynb_checkpoints``), those of the
    system, links that lead nowhere, in a circle or to what is counted already, other kinds of files, and heatmaps that
    were drawn here. Suffixes count in any case. Raises FileNotFoundError for a path that is not there.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"no such file or folder: {root}; expected a folder of pictures, or one picture")
    if root.is_file():
        return Found(root, [root], {}, [])
    files, passed, folders, waiting = [], {}, [root], [root]
    while waiting:
        for entry in waiting.pop().iterdir():
            if reason := _reason(entry, root, folders):
                passed.setdefault(reason, []).append(entry)
            elif entry.is_dir():
                folders.append(entry)
                waiting.append(entry)
            else:
                files.append(entry)
    return Found(root, sorted(files), {why: sorted(passed[why]) for why in sorted(passed)}, sorted(folders))


def _reason(entry: Path, root: Path, folders: list[Path]) -> str:
    """Why a file or folder is passed over; empty if it is not."""
    if entry.name.startswith(".") or entry.name.lower() in TOOLS:
        return "hidden or of the system"
    if entry.is_symlink() and (reason := _link(entry, root, folders)):
        return reason
    if entry.is_dir():
        return ""
    if entry.suffix.lower() in UNREAD:
        return f"of a kind that is not read, {entry.suffix.lower()}: save as PNG"
    if entry.suffix.lower() not in SUFFIXES or not entry.is_file():
        return "no pictures"
    with open(entry, "rb") as file:
        return "drawn by fcdd" if STAMP.encode() in file.read(1024) else ""


def _link(entry: Path, root: Path, folders: list[Path]) -> str:
    target, top = (Path(os.path.realpath(path)) for path in (entry, root))
    if not entry.exists():
        return "broken links"
    # What lies in a hidden folder is not counted already: git-annex and DVC keep the files there.
    inside = target.is_relative_to(top) and not any(p.startswith(".") for p in target.relative_to(top).parts)
    again = target.is_dir() and (top.is_relative_to(target) or any(target.samefile(folder) for folder in folders))
    return "links to what is counted already" if inside or again else ""


# ---- what a picture holds ----


def read(file, white: float | None = None) -> np.ndarray:
    """A picture as uint8 (H, W, C), upright as EXIF says, in sRGB, on white where transparent; C = 1 for greys, else 3.

    ``file``: a path, an open file, an image of Pillow, or an array (C, H, W) or (H, W, C), uint8 or float in [0, 1].
    Of more than 8 bits, and of floats, ``white`` is the value that becomes 255; None: 1 for floats up to 1, or the
    least of :data:`WHITES` that no value exceeds (cameras write 10, 12 or 14 bits into 16; :func:`white_of` decides for
    a folder). Raises :class:`PictureError` for what is damaged, too large for Pillow, or several pages or frames, and
    for values without a certain meaning.
    """
    array = np.asarray(opened(file, partial(plain, white=white)))
    return array[..., None] if array.ndim == 2 else array


def white_of(files) -> float | None:
    """The value that is white in all ``files``, the largest that one asks for; None where all have 8 bits. So that a
    dark picture of a camera with 12 bits is not taken for one of 10. Files that cannot be read do not count."""
    whites = []
    for file in files:
        try:
            whites.append((opened(file, deep) or (None, 0))[1])
        except PictureError:
            continue
    return max(whites, default=0) or None


def size_of(file) -> tuple[int, int]:
    """(height, width), upright, from the header alone. Raises like :func:`read`."""

    def size(image, _):
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) >= 5  # Pillow turns TIFFs itself
        return image.size if turned else image.size[::-1]

    return opened(file, size)


# ---- at one size ----


def squeeze(image: Image.Image, size: Sequence[int], how=Image.Resampling.BILINEAR) -> Image.Image:
    """The whole picture at ``size`` = (H, W); its aspect ratio is not kept."""
    return image.resize((size[1], size[0]), how)


def crop(image: Image.Image, size: tuple[int, int], margin: float = 1.0) -> Image.Image:
    """The middle of the picture at ``size``, after resizing so that ``margin`` times ``size`` just fits into it."""
    scale = margin * max(size[0] / image.height, size[1] / image.width)
    sides = [max(least, int(side * scale + 1e-6)) for least, side in zip(size, image.size[::-1], strict=True)]
    resized = squeeze(image, sides)
    left, top = round((resized.width - size[1]) / 2), round((resized.height - size[0]) / 2)
    return resized.crop((left, top, left + size[1], top + size[0]))


def as_it_is(image: Image.Image, size: tuple[int, int], how=None) -> Image.Image:
    """Unchanged. Raises :class:`PictureError` for another size."""
    if image.size != tuple(size[::-1]):
        raise PictureError(f"expected images of one size, {size[1]}×{size[0]} px, got {image.width}×{image.height}")
    return image


def shape(files, shorter: int | None = None) -> tuple[int, int]:
    """The common size (H, W) at which pictures keep their aspect ratio, from their headers.

    ``shorter``: the shorter side in px; None: 256, or their own if they have less than 64. The other is rounded to a
    multiple of 8 from 64 px on. Raises :class:`PictureError` for ratios more than 2 % apart, or if none can be read.
    """
    sizes = {}
    for file in files:
        try:
            sizes[file] = size_of(file)
        except PictureError as error:
            damaged = error  # told with all others when they are read
    if not sizes:
        raise damaged if len(files) else PictureError("expected pictures, got none")
    by_ratio = sorted(sizes, key=lambda file: sizes[file][1] / sizes[file][0])
    (low_h, low_w), (height, width), (high_h, high_w) = (sizes[by_ratio[k]] for k in (0, len(by_ratio) // 2, -1))
    if high_w * low_h > ALIKE * low_w * high_h:
        ends = f"{low_w}×{low_h} px ({by_ratio[0]}) and {high_w}×{high_h} px ({by_ratio[-1]})"
        raise PictureError(f"expected pictures of one aspect ratio, got {ends}; crop or pad them alike, or sort them")
    side = shorter or (own if (own := min(map(min, sizes.values()))) < 64 else 256)
    longer = side * max(height, width) / min(height, width)
    longer = side if longer < ALIKE * side else round(longer) if side < 64 else 8 * round(longer / 8)
    return (side, longer) if width >= height else (longer, side)


@dataclass(frozen=True)
class Pictures:
    """Pictures that are decoded only when they are indexed; stands where a tensor (N, C, H, W) uint8 would, so that a
    folder may be larger than the memory. ``files``: any sequence of what :func:`read` takes."""

    files: Sequence
    size: tuple[int, int]
    channels: int = 3
    fit: Callable = squeeze
    white: float | None = None

    dtype, ndim = torch.uint8, 4

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index) -> torch.Tensor:
        problems: list[str] = []
        files = [self.files[int(k)] for k in np.arange(len(self.files))[index]]
        images = decoded(files, self.size, self.channels, problems, self.fit, self.white)
        if problems:
            raise all_of(problems, "pictures are damaged")
        return images

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.channels, *self.size

    def split(self, count: int) -> Iterator[torch.Tensor]:
        """Batch by batch, as a tensor's."""
        return (self[start : start + count] for start in range(0, len(self), count))


def pixels(file, size, channels: int = 3, fit: Callable = squeeze, white: float | None = None) -> np.ndarray:
    """One picture as (C, H, W) uint8, fitted to ``size`` = (H, W); what it holds as in :func:`read`."""
    image = opened(file, partial(plain, white=white)).convert("L" if channels == 1 else "RGB")
    array = np.asarray(fit(image, size))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def decoded(files, size, channels, problems: list[str], fit: Callable = squeeze, white=None) -> torch.Tensor:
    """Reads pictures into one tensor (N, C, H, W); what cannot be read is added to ``problems`` and left blank."""
    images = torch.zeros(len(files), channels, *size, dtype=torch.uint8)
    for k, file in enumerate(tqdm(files, desc="decoding pictures", unit=" images", delay=3, leave=False)):
        try:
            images[k] = torch.from_numpy(pixels(file, size, channels, fit, white).copy())
        except PictureError as error:
            problems.append(str(error))
    return images


# ---- what a mask holds ----


def mask(file, size: tuple[int, int] | None = None, fit: Callable = squeeze) -> np.ndarray:
    """A mask as boolean (H, W), True on the defect; at ``size`` without mixing pixels.

    Black, the first colour of a palette if that is black, and what is transparent are good. All else is a defect where
    values number its kinds (1, 2, 3; a palette; 247 and 254); where they are shades, of an anti-aliased edge or of
    JPEG, what is brighter than half of the brightest. Raises :class:`PictureError` like :func:`read`.
    """
    marked = opened(file, _marked)
    return marked if size is None else mask_at(marked, size, fit)


def mask_at(marked: np.ndarray, size: tuple[int, int], fit: Callable = squeeze) -> np.ndarray:
    """A boolean mask (H, W) at another ``size``, without mixing pixels."""
    same = marked.shape == tuple(size)
    return marked if same else np.asarray(fit(Image.fromarray(marked), size, how=Image.Resampling.NEAREST))


def _marked(image: Image.Image, file) -> np.ndarray:
    numbers, lossy = deep(image, file), image.format == "JPEG"
    image.load()
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    if numbers is not None:
        array = numbers[0]
    elif image.mode == "P" and "transparency" not in image.info and (image.getpalette() or [0])[:3] == [0, 0, 0]:
        array = np.asarray(image)
    else:
        array = np.asarray(on(image, "black").convert("L" if image.mode in ("1", "L") else "RGB"))
    array = array if array.ndim == 2 else array.max(2)
    marked = array > _least(array, lossy)
    return np.asarray(Image.fromarray(marked).transpose(Image.Transpose[turn])) if turn else marked


def _least(array: np.ndarray, lossy: bool) -> float:
    """The value above which pixels of a mask (H, W) are marked."""
    levels, high = np.unique(array[array > 0]), float(array.max())
    if lossy and 0 < high < 64:
        raise ValueError(f"a JPEG mask whose largest value is {high:g}: lossy files mix the numbers of kinds")
    if lossy or (len(levels) > 16 and not 1 < high < 64):
        return high / 2
    if len(levels) < 2 or high < 64:
        return 0
    # Numbers of kinds fill areas, shades of an edge do not: the smallest value that fills a square of 3×3 pixels.
    flat = array[(ndimage.minimum_filter(array, 3) == ndimage.maximum_filter(array, 3)) & (array > 0)]
    return min(flat, default=high) / 2


def small_defects(masks, cell: float) -> str | None:
    """Says how many defects are smaller than two cells of the map; None if none is.

    ``masks``: boolean (N, H, W) or (N, 1, H, W), of the size that the network sees; a region of touching pixels is a
    defect, the root of its area its side; ``cell``: the stride of the map in px.
    """
    regions = (ndimage.label(np.reshape(each, np.shape(each)[-2:]), np.ones((3, 3)))[0] for each in masks)
    sides = np.sqrt(np.concatenate([np.zeros(0), *(np.bincount(region.ravel())[1:] for region in regions)]))
    if not len(small := sides[sides < 2 * cell]):
        return None
    told = f"{len(small)} of {len(sides)} defects are smaller than two cells of the map ({2 * cell:g} px), the smallest"
    return f"{told} {small.min():.2g} px: they may be missed; use a larger size, or tiles"

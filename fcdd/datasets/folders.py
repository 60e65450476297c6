"""Images from folders: MVTec-style trees with masks, trees of one folder a class, and plain folders of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from .fetch import DataError
from .split import Images, Split, one_vs_rest

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def squeeze(image: Image.Image, size: Sequence[int], how=Image.Resampling.BILINEAR) -> Image.Image:
    """The whole picture at ``size`` = (H, W); its aspect ratio is not kept."""
    return image.resize((size[1], size[0]), how)


_nearest = partial(squeeze, how=Image.Resampling.NEAREST)


def crop(image: Image.Image, size: tuple[int, int], margin: float = 1.0) -> Image.Image:
    """The middle of the picture at ``size``, after resizing so that ``margin`` times ``size`` just fits into it."""
    scale = margin * max(size[0] / image.height, size[1] / image.width)
    sides = [max(least, int(side * scale + 1e-6)) for least, side in zip(size, image.size[::-1], strict=True)]
    resized = squeeze(image, sides)
    left, top = round((resized.width - size[1]) / 2), round((resized.height - size[0]) / 2)
    return resized.crop((left, top, left + size[1], top + size[0]))


@dataclass(frozen=True)
class Pictures:
    """Pictures that are decoded only when they are indexed; stands where a tensor (N, C, H, W) uint8 would."""

    files: Sequence
    size: tuple[int, int]
    channels: int = 3
    fit: Callable = squeeze

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index) -> torch.Tensor:
        problems: list[str] = []
        files = [self.files[k] for k in np.arange(len(self.files))[index]]
        images = _read(files, self.size, self.channels, problems, self.fit)
        if problems:
            raise DataError(f"{len(problems)} pictures are damaged:" + "".join(f"\n- {p}" for p in problems))
        return images


def folder(path, size: tuple[int, int] = (224, 224), channels: int = 3) -> Split:
    """A tree in the layout of MVTec-AD as a :class:`Split`; images and masks are resized to ``size`` = (H, W).

    ``train/good`` holds nominal images, ``test/good`` and ``test/<defect>`` the test images, and
    ``ground_truth/<defect>/<stem>_mask.png`` their masks, white on the defect, as large as the images, resized without
    mixing pixels. Raises FileNotFoundError without ``train/good``, :class:`DataError` that lists all that is wrong."""
    path = Path(path)
    good, defects = pictures(path / "train" / "good"), sorted((path / "test").glob("*/"))
    tests = [file for defect in defects for file in pictures(defect)]
    problems: list[str] = []
    mask_files = _mask_files(path, defects, tests, problems)
    train_images, test_images = (_read(files, size, channels, problems) for files in (good, tests))
    masks = _read(mask_files, size, 1, problems, _nearest)
    none = f"expected nominal images in {path / 'train' / 'good'}, found none (of {', '.join(sorted(SUFFIXES))})"
    if not good and not problems:
        raise FileNotFoundError(none)
    problems += [] if good else [none]
    if problems:
        raise DataError(f"{len(problems)} problems in {path}:" + "".join(f"\n- {p}" for p in problems))
    nominal, anomalous = np.zeros(len(good), bool), np.array([file.parent.name != "good" for file in tests], bool)
    y = torch.from_numpy(np.where(anomalous, -1, 1))
    names = np.array([f"{file.parent.name}/{file.stem}" for file in tests])
    train = Images(train_images, torch.zeros(len(good), dtype=torch.int64), nominal, np.array([f.stem for f in good]))
    return Split(path.name, "good", train, Images(test_images, y, anomalous, names, _marked(masks)), str(path))


def original_masks(split: Split) -> list[np.ndarray]:
    """Masks of the test images at the size of their files, where papers evaluate: boolean (H, W), blank for good ones.
    ``split`` is what :func:`folder` gave, or a part of it. Raises FileNotFoundError or :class:`DataError` if files have
    gone, or cannot be read any more."""
    path, masks = Path(split.source), []
    for name in split.test.names:
        kind, stem = name.split("/", 1)
        image = next((file for file in pictures(path / "test" / kind) if file.stem == stem), None)
        if image is None:
            raise FileNotFoundError(f"expected the picture {name} below {path / 'test'}; it was there when it was read")
        file = _masks_of(path, kind).get(stem)
        width, height = _size(file or image) or (1, 1)
        masks.append(_marked(Pictures([file], (height, width), 1, _nearest)[:])[0, 0].numpy())
    return masks


def _mask_files(path: Path, defects, tests, problems: list[str]) -> list[Path | None]:
    """The mask of each test picture, None for good ones; masks and pictures that do not match become problems."""
    kinds = {folder.name for folder in (*defects, *(path / "ground_truth").glob("*/"))} - {"good"}
    masks = {kind: _masks_of(path, kind) for kind in kinds}
    found = [masks.get(file.parent.name, {}).get(file.stem) for file in tests]
    for file, mask in zip(tests, found, strict=True):
        kind = file.parent.name
        if mask and (size := _size(mask)) and (wanted := _size(file)) and size != wanted:
            problems.append(f"{mask}: {size[0]}×{size[1]} px, but its image has {wanted[0]}×{wanted[1]}")
        if not mask and kind != "good":
            missing = path / "ground_truth" / kind / f"{file.stem}_mask.png"
            problems.append(f"{missing}: missing (every image in a defect folder needs a mask)")
    unused = sorted({mask for of_kind in masks.values() for mask in of_kind.values()} - {*found})
    problems += [f"{mask}: there is no image for this mask in {path / 'test' / mask.parent.name}" for mask in unused]
    empty = sorted({*defects} - {file.parent for file in tests})
    problems += [f"{defect}: empty; put images there or remove it" for defect in empty]
    return found


def _masks_of(path: Path, kind: str) -> dict[str, Path]:
    """The masks of one defect, by the stem of their images."""
    return {file.stem.removesuffix("_mask"): file for file in pictures(path / "ground_truth" / kind)}


def _size(file: Path) -> tuple[int, int] | None:
    """(width, height), from the header alone; None if it cannot be read, which is noticed when the pixels are."""
    try:
        with Image.open(file) as image:
            return image.size
    except OSError:
        return None


def _marked(masks: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) uint8 → boolean: brighter than half of the brightest pixel, as some tools write 1 for white."""
    return masks > masks.amax((2, 3), keepdim=True) / 2


def class_folders(path, normal: str, size: tuple[int, int], channels: int = 3, **protocol) -> Split:
    """A tree ``train/<class>/*`` and ``test/<class>/*`` with class ``normal`` nominal, pictures resized to ``size``;
    ``protocol`` as in :func:`one_vs_rest`. Only pictures of the split are opened. Raises FileNotFoundError too."""
    classes, arrays = read_tree(Path(path), size, channels)
    return one_vs_rest(Path(path).name, arrays, classes, normal, str(path), **protocol)


def read_tree(path: Path, size, channels: int = 3, fit: Callable = squeeze, classes: dict | None = None):
    """Class names and arrays of a tree of one folder a class; the test pictures lie in ``test`` or ``val``."""
    test = next((path / part for part in ("test", "val") if (path / part).is_dir()), path / "test")
    names, images, labels = read_classes(path / "train", size, channels, fit, classes)
    _, test_images, test_labels = read_classes(test, size, channels, fit, classes or {name: (name,) for name in names})
    return names, dict(train_images=images, train_labels=labels, test_images=test_images, test_labels=test_labels)


def read_classes(path: Path, size, channels: int = 3, fit: Callable = squeeze, classes: dict | None = None):
    """Class names, :class:`Pictures` and labels of a folder with one folder a class; ``classes`` maps each class to the
    names that its folder may have. Raises FileNotFoundError for missing ones."""
    from torchvision.datasets.folder import make_dataset

    classes = classes or {folder.name: (folder.name,) for folder in sorted(path.glob("*/"))}
    folders = [next((name for name in names if (path / name).is_dir()), names[0]) for names in classes.values()]
    missing = [folder for folder in folders if not (path / folder).is_dir()]
    if missing or not folders:
        raise FileNotFoundError(f"expected one folder a class in {path}, missing: {', '.join(missing[:5]) or 'all'}")
    found = make_dataset(path, {folder: k for k, folder in enumerate(folders)}, extensions=tuple(SUFFIXES))
    files, labels = zip(*sorted(found, key=lambda sample: sample[1]), strict=True)
    return tuple(classes), Pictures(files, size, channels, fit), torch.tensor(labels)


def image_folder(path, size: tuple[int, int], channels: int = 3, without: Sequence[str] = ()) -> torch.Tensor:
    """All pictures below a folder, resized, as uint8 (N, C, H, W), without some folders. Raises like :func:`folder`."""
    files = [file for file in pictures(Path(path)) if file.relative_to(path).parts[0] not in without]
    if not files:
        raise FileNotFoundError(f"expected images below {path}, found none (of {', '.join(sorted(SUFFIXES))})")
    return Pictures(files, size, channels)[:]


def pictures(path: Path) -> list[Path]:
    """The picture files below a folder, sorted by name."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)


def pixels(file, size, channels: int = 3, fit: Callable = squeeze) -> np.ndarray:
    """One picture, a path or an open file, as (C, H, W) uint8. 16-bit greys are scaled: Pillow clips them to white."""
    with Image.open(file) as opened:
        image: Image.Image = opened
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image, np.float32) / 257).round().clip(0, 255).astype(np.uint8))
        array = np.asarray(fit(image.convert("L" if channels == 1 else "RGB"), size))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _read(files, size, channels, problems, fit: Callable = squeeze) -> torch.Tensor:
    """Reads pictures into one tensor; None gives a blank one. What cannot be read is added to ``problems``."""
    images = torch.zeros(len(files), channels, *size, dtype=torch.uint8)
    for k, file in enumerate(tqdm(files, desc="decoding pictures", unit=" images", delay=3, leave=False)):
        try:
            if file is not None:
                images[k] = torch.from_numpy(pixels(file, size, channels, fit).copy())
        except OSError as error:
            problems.append(f"{file}: cannot be read ({error})")
    return images

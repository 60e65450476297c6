"""Images from folders: MVTec-style trees with masks, and plain folders of pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from .fetch import DataError
from .split import Images, Split

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def folder(path, size: tuple[int, int] = (224, 224), channels: int = 3) -> Split:
    """A tree in the layout of MVTec-AD as a :class:`Split`; images and masks are resized to ``size`` = (H, W).

    ``train/good`` holds nominal images; ``test/good`` and ``test/<defect>`` the test images;
    ``ground_truth/<defect>/<stem>_mask.png`` the masks, white on the defect. Raises FileNotFoundError without
    ``train/good``, and :class:`DataError` that lists everything wrong with the tree at once.
    """
    path = Path(path)
    good, defects = pictures(path / "train" / "good"), sorted(p for p in (path / "test").glob("*") if p.is_dir())
    if not good:
        raise FileNotFoundError(
            f"expected nominal images in {path / 'train' / 'good'}, found none (of {', '.join(sorted(SUFFIXES))})"
        )
    tests = [file for defect in defects for file in pictures(defect)]
    problems: list[str] = []
    train_images = _read(good, size, channels, problems)
    test_images = _read(tests, size, channels, problems)
    masks = _read([_mask_of(path, file) for file in tests], size, 1, problems, optional=True)
    if problems:
        raise DataError(f"{len(problems)} problems in {path}:\n" + "\n".join(f"- {p}" for p in problems))
    anomalous = np.array([file.parent.name != "good" for file in tests])
    names = np.array([f"{file.parent.name}/{file.stem}" for file in tests])
    y = torch.from_numpy(np.where(anomalous, -1, 1))
    train = Images(
        train_images,
        torch.zeros(len(good), dtype=torch.int64),
        np.zeros(len(good), bool),
        np.array([f.stem for f in good]),
    )
    return Split(path.name, "good", train, Images(test_images, y, anomalous, names, masks > 127), str(path))


def image_folder(path, size: tuple[int, int], channels: int = 3) -> torch.Tensor:
    """All pictures below a folder as a uint8 tensor (N, C, H, W), resized. Raises like :func:`folder`."""
    problems: list[str] = []
    files = pictures(Path(path))
    if not files:
        raise FileNotFoundError(f"expected images below {path}, found none (of {', '.join(sorted(SUFFIXES))})")
    images = _read(files, size, channels, problems)
    if problems:
        raise DataError(f"{len(problems)} problems in {path}:\n" + "\n".join(f"- {p}" for p in problems))
    return images


def pictures(path: Path) -> list[Path]:
    """The picture files below a folder, sorted by name."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey pictures brought to 8 bits; Pillow's own conversion would clip them to white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image, np.float32) / 257).round().clip(0, 255).astype(np.uint8))


def _mask_of(path: Path, file: Path) -> Path | None:
    return None if file.parent.name == "good" else path / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"


def _read(files, size, channels, problems, optional=False) -> torch.Tensor:
    """Reads pictures into one tensor; None gives a blank one. What cannot be read is added to ``problems``."""
    mode, blank = ("L" if channels == 1 else "RGB"), np.zeros((size[0], size[1], channels), np.uint8)
    resample = Image.Resampling.NEAREST if optional else Image.Resampling.BILINEAR
    arrays = []
    for file in files:
        array = blank
        try:
            if file is not None:
                with Image.open(file) as image:
                    array = np.asarray(_eight_bit(image).convert(mode).resize((size[1], size[0]), resample)).reshape(
                        blank.shape
                    )
        except FileNotFoundError:
            problems.append(f"{file}: missing (every image in a defect folder needs a mask)")
        except (UnidentifiedImageError, OSError) as error:
            problems.append(f"{file}: cannot be read ({error})")
        arrays.append(array)
    if not arrays:
        return torch.zeros(0, channels, *size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()

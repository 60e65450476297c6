"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015, MIT licence): handwritten characters, 28×28 grey, ink is 255."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from fcdd.datasets.archives import BROKEN
from fcdd.datasets.fetch import DataError, listed, verify
from fcdd.datasets.folders import Pictures, squeeze
from fcdd.datasets.split import complete


def _ink(image: Image.Image, size) -> Image.Image:
    """White strokes on black, as in the MNIST family; the files have black strokes on white."""
    return squeeze(ImageOps.invert(image), size, Image.Resampling.BOX)


def _read(path: Path):
    """Characters are the classes, 20 images each."""
    if path.is_dir():  # as torchvision unpacks it: alphabet/character/picture
        files = sorted(path.glob("*/*/*.png"))
        names, labels = np.unique([f"{file.parts[-3]}/{file.parts[-2]}" for file in files], return_inverse=True)
        images: Pictures | torch.Tensor = Pictures(files, (28, 28), 1, _ink)
    else:
        verify(path)
        try:
            with np.load(path) as kept:
                names, labels, images = kept["names"], kept["labels"], torch.from_numpy(kept["images"])[:, None]
        except BROKEN as error:
            raise DataError(f"{path} is damaged ({error}); fetch it again") from error
    arrays = {"train_images": images, "train_labels": torch.from_numpy(labels.astype(np.int64))}
    return tuple(map(str, names)), complete(arrays)


ENTRIES = {"omniglot": listed("omniglot", read=_read)}

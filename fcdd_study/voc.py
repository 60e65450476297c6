"""Pascal VOC 2007 (Everingham et al. 2010): photographs with several objects; its horses carry a watermark.

An image is nominal if it shows an object of the nominal class. Training images are those of the official train set,
test images those of val, as in Liznerski et al. 2021. Taught in: chapter 07.
"""

from pathlib import Path
from xml.etree import ElementTree

import torch

from fcdd.datasets.fetch import FACTS, DataError, listed
from fcdd.datasets.folders import Pictures

CLASSES = tuple(FACTS["voc"]["classes"])


def _read(path: Path, normal: str | None = None, size: tuple[int, int] = (224, 224)):
    """The label of an image is ``normal`` where it shows one, otherwise that of the first object in its annotation. The
    aspect ratio is not kept, so that the watermark in the corner stays in the picture."""
    from torchvision.datasets import VOCDetection

    arrays: dict = {}
    for part, image_set in (("train", "train"), ("test", "val")):
        try:
            found = VOCDetection(path.parents[1], year="2007", image_set=image_set)
            shown = [[e.text for e in ElementTree.parse(file).findall("object/name")] for file in found.annotations]
        except (OSError, ElementTree.ParseError) as error:
            raise DataError(f"{path} is not complete or damaged ({error}); fetch it again") from error
        labels = [CLASSES.index(normal if normal in names else names[0]) for names in shown]
        arrays |= {f"{part}_images": Pictures(found.images, size), f"{part}_labels": torch.tensor(labels)}
    return CLASSES, arrays


ENTRIES = {"voc": listed("voc", read=_read)}

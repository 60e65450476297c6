"""Sorts the originals of PIPED as the data set ``piped`` wants them: python -m fcdd_study.make_piped CLONE

CLONE is what ``git clone https://github.com/bianconif/PIPED`` gives. Eight of its paper types go to data/cache/piped,
lossless, in the layout of MVTec-AD; good patches of the first two thirds of the sheets are to be learnt from. At the
end it says whether the pixels are those of piped_8types_128.tar.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fcdd import datasets
from fcdd.datasets import fetch

# sha256 over the pixels of piped_8types_128.tar, see :func:`pixels`
PIXELS = "6c8493c8f478d1eb4de0a9871594bcce74d84cb16607ea1827a3257eb26fd914"
KINDS = {"ND": "NoDefects", "D": "Defects", "GT": "Defects/GroundThruth"}  # spelt as there


def sort(clone: Path, target: Path) -> None:
    """Writes the tree of all eight types. Raises FileNotFoundError where a type has no pictures."""
    for name in datasets.classes("piped"):
        source = clone / "data" / f"PA_{name.upper()}"
        found = {kind: sorted((source / folder).glob(f"*_S_{kind}_*.bmp")) for kind, folder in KINDS.items()}
        if missing := [str(source / KINDS[kind]) for kind, files in found.items() if not files]:
            raise FileNotFoundError(f"expected pictures *.bmp in {', '.join(missing)}, found none")
        last = max(int(_patch(file)[:2]) for file in found["ND"]) * 2 // 3
        for kind, file in ((kind, file) for kind, files in found.items() for file in files):
            image, patch = Image.open(file).convert("L" if kind == "GT" else "RGB"), _patch(file)
            part = {"D": "test/impurity", "GT": "ground_truth/impurity"}.get(kind)
            part = part or ("train/good" if int(patch[:2]) <= last else "test/good")
            path = target / name / part / f"{patch}{'_mask' if kind == 'GT' else ''}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (_mask(image) if kind == "GT" else image).save(path)


def _patch(file: Path) -> str:
    """Sheet and patch at the end of a name: 09_2."""
    return "_".join(file.stem.split("_")[-2:])


def _mask(image: Image.Image) -> Image.Image:
    """White on the impurity, which is always the smaller part."""
    marked = np.asarray(image) > 127
    return Image.fromarray(marked if marked.mean() < 0.5 else ~marked)


def pixels(tree: Path) -> str:
    """sha256 over the names and pixels of all pictures below a folder."""
    digest = hashlib.sha256()
    for file in sorted(tree.rglob("*.png"), key=lambda file: file.relative_to(tree).as_posix()):
        digest.update(
            file.relative_to(tree).as_posix().encode() + np.asarray(Image.open(file).convert("RGB")).tobytes()
        )
    return digest.hexdigest()


if __name__ == "__main__":
    home = fetch.cache() / "piped"
    sort(Path(sys.argv[1]), home)
    same = "the same as" if pixels(home) == PIXELS else "NOT those of"
    print(f"{home}: its pixels are {same} piped_8types_128.tar")

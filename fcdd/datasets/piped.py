"""PIPED: photographs of paper with specks and fibres in it, and masks drawn by hand; four types are in the package.

128×128 px, RGB, CC BY 4.0; ``embedded/piped_small.md`` names the authors and what was changed. Source: Bianconi,
Ceccarelli, Fernández and Saetta 2014, *A sequential machine vision procedure for assessing paper impurities*.
Taught in: chapters 00 and 06.
"""

import atexit
import logging
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from .archives import extract, unpack
from .fetch import EMBEDDED, SHA256, listed, locate
from .folders import folder
from .split import Images, Split

SMALL = EMBEDDED / "piped_small.tar"
LICENCE = SMALL.with_suffix(".md")
INSIDE = "the package itself (part of PIPED, CC BY 4.0)"


def small(normal: str, size: tuple[int, int] = (256, 256), strict: bool = True) -> Split:
    """One of the four paper types inside the package, ``bft01_tl``, ``brg01_rl``, ``fvn02_rl`` or ``gla01_tl``.

    Images (N, 3, H, W) and masks (N, 1, H, W) at ``size`` = (H, W); the files have 128×128 px, which are few for a map
    of stride 8. 32 good images of sheets 1 to 8 train; 16 good and 16 defective ones of sheets 9 to 12 test.
    ``groups`` of both are the sheets. ``strict=False`` keeps the 32 defective ones of sheets that good images train
    from as well: their paper has been seen. Raises ValueError for other types."""
    return _split("piped-small", normal, SMALL, size, strict, INSIDE)


def lossless(normal: str, root=None, size: tuple[int, int] = (256, 256), strict: bool = True) -> Split:
    """One of eight paper types, lossless, as :func:`small`; two of them have 6 sheets with 8 patches each, of which
    sheets 1 to 4 train. Raises FileNotFoundError that says how to get them, too."""
    return _split("piped", normal, locate("piped", ENTRIES["piped"], root), size, strict)


def _split(name: str, normal: str, path: Path, size, strict: bool, said: str = "") -> Split:
    whole = folder(tree(path) / normal, size)
    train, test = _grouped(whole.train), _grouped(whole.test)
    unseen = ~test.anomalous | (test.groups > max(train.groups))
    test = test.take(np.flatnonzero(unseen)) if strict else test
    return replace(whole, name=f"{name}/{normal}", train=train, test=test, said=said)


def _grouped(images: Images) -> Images:
    """A file's name is sheet and patch, ``09_2``."""
    return replace(images, groups=np.array([name.split("/")[-1].partition("_")[0] for name in images.names]))


def tree(path: Path) -> Path:
    """The folder of the paper types: ``path``, or where its archive is unpacked to, once; for this process alone where
    the cache cannot be written. Raises :class:`~fcdd.datasets.DataError` for a damaged archive."""
    if path.is_dir():
        return path
    try:
        return unpack(path, f"unpacked/{SHA256[path.name][:12]}") / "piped"
    except OSError as error:
        logging.getLogger("fcdd").warning("%s is unpacked for this process alone (%s)", path.name, error)
        return _alone(path) / "piped"


@cache
def _alone(path: Path) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="fcdd-")
    atexit.register(folder.cleanup)
    return extract(path, Path(folder.name))


def _files(path: Path | None) -> dict[str, Path]:
    home = tree(path or SMALL)
    files = {file.relative_to(home).as_posix(): file for file in sorted(home.rglob("*")) if file.is_file()}
    return files | {"LICENCE.md": LICENCE}


ENTRIES = {
    "piped-small": listed("piped-small", split=small, copy=_files, source=lambda _: INSIDE),
    "piped": listed("piped", split=lossless, copy=_files),
}

"""Tar files: those with pictures to decode one by one are unpacked once, small sets are decoded once; both are kept."""

import errno
import logging
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from . import fetch
from .fetch import DataError, verify

BROKEN = (tarfile.TarError, zlib.error, zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError)


def unpack(archive: Path, home: str = "unpacked") -> Path:
    """Unpacks an archive below ``home`` in the cache, all or nothing; returns the folder, at once if it is there.
    Raises :class:`DataError` if the archive is not the one whose checksum is known, or is damaged."""
    target = fetch.cache() / home / archive.name.split(".")[0]
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            with _whole(target) as unfinished:
                extract(archive, unfinished)
    return target


def extract(archive: Path, target: Path) -> Path:
    """Unpacks an archive into the folder ``target``. Raises like :func:`unpack`."""
    verify(archive)
    try:
        with tarfile.open(archive) as file:
            file.extractall(target, filter="data")
    except (*BROKEN, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk: no room, no right
        raise DataError(f"{archive} is damaged and cannot be unpacked ({error}); fetch it again") from error
    return target


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A path to write to, which is moved to ``target`` at the end: no other process ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as folder:
        yield (unfinished := Path(folder) / target.name)  # it has usual rights, unlike the temporary folder
        os.replace(unfinished, target)


def decoded(path: Path, decode: Callable[[Path], dict]) -> dict:
    """The arrays that ``decode(path)`` gives, as contiguous tensors. Raises :class:`DataError` if the file is damaged.
    They are kept as ``decoded/<name>-<sha256>.npz`` in the cache; zip's checksums tell if that was damaged later."""
    kept = fetch.cache() / "decoded" / f"{path.name.split('.')[0]}-{verify(path)[:12]}.npz"
    try:
        arrays = _recall(kept) or _keep(kept, decode(path))
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    # Layout too is the same from the file and from the cache: sums over another layout are rounded otherwise.
    return {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}


def _recall(kept: Path) -> dict | None:
    try:
        with np.load(kept) as arrays:
            return dict(arrays)
    except BROKEN as error:
        if kept.exists():
            logging.getLogger("fcdd").warning("%s is damaged (%s) and is made again", kept, error)
        return None


def _keep(kept: Path, arrays: dict) -> dict:
    try:
        with _whole(kept) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:  # no room, or a folder that only others may write: slower, but no reason to stop
        logging.getLogger("fcdd").warning("%s could not be written (%s); it is decoded anew each time", kept, error)
    return arrays

"""Tar files: those with pictures to decode one by one are unpacked once, small sets are decoded once; both are kept."""

import logging
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from . import fetch
from .fetch import DataError, verify

BROKEN = (tarfile.TarError, zlib.error, zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError)


def unpack(archive: Path, home: str = "unpacked") -> Path:
    """Unpacks an archive below ``home`` in the cache, all or nothing; returns the folder, at once if it is there.

    Raises :class:`DataError` if the archive is not the one whose checksum is known, or is damaged.
    """
    target = fetch.cache() / home / archive.name.split(".")[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_dir():
            return target
        verify(archive)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as unfinished:
            whole = Path(unfinished) / target.name  # a folder with usual rights, unlike the temporary one
            try:
                with tarfile.open(archive) as file:
                    file.extractall(whole, filter="data")
            except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
                raise DataError(f"{archive} is damaged and cannot be unpacked ({error}); fetch it again") from error
            os.replace(whole, target)
    return target


def decoded(path: Path, decode: Callable[[Path], dict]) -> dict:
    """The arrays that ``decode(path)`` gives, as contiguous tensors. Raises :class:`DataError` if the file is damaged.

    Decoding takes seconds, so the result is kept as ``decoded/<name>-<sha256>.npz`` in the cache. One file, so that
    images and labels cannot part, with the checksums of the zip format: a damaged one is noticed and made again.
    """
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
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BROKEN as error:
        logging.getLogger("fcdd").warning("%s is damaged (%s) and is made again", kept, error)
        return None


def _keep(kept: Path, arrays: dict) -> dict:
    """Writes beside the file and then moves it there, so that no other process ever sees half of it."""
    unfinished = kept.with_name(f"{kept.stem}-{os.getpid()}.tmp")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(unfinished, kept)
    except OSError as error:  # no room, or a folder that only others may write: slower, but no reason to stop
        with suppress(OSError):
            unfinished.unlink()
        logging.getLogger("fcdd").warning("%s could not be written (%s); it is decoded anew each time", kept, error)
    return arrays

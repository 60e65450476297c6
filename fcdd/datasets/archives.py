"""Pictures in tar files: small ones are decoded once and kept, large ones are decoded when they are asked for."""

import contextlib
import gzip
import io
import logging
import lzma
import os
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from tqdm import tqdm

from . import fetch
from .fetch import DataError, verify
from .folders import SUFFIXES, Member, pixels
from .split import complete

BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError)


def members(path: Path) -> list[Member]:
    """The pictures in a tar without compression, sorted by name. Raises :class:`DataError` if it is damaged."""
    verify(path)
    try:
        with tarfile.open(path, "r:") as archive:
            found = [Member(path, m.name, m.offset_data, m.size) for m in archive if _is_picture(m)]
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    return sorted(found, key=lambda member: member.name)


def read_archive(path: Path, size: tuple[int, int] = (32, 32)) -> tuple[tuple[str, ...], dict]:
    """A tar of ``{train,test}/<class>/<picture>`` as class names and arrays, images (N, 3, H, W) uint8.

    Decoding takes seconds, so the result is kept as ``decoded/<name>-<sha256>.npz`` in the cache. One file, so that
    images and labels cannot part, with the checksums of the zip format: a damaged one is noticed and made again.
    """
    kept = fetch.cache() / "decoded" / f"{path.name.split('.')[0]}-{verify(path)[:12]}.npz"
    arrays = _recall(kept)
    if arrays is None:
        arrays = _decode(path, size)
        _keep(kept, arrays)
    classes = tuple(arrays.pop("classes").tolist())
    return classes, complete({key: torch.from_numpy(value) for key, value in arrays.items()})


def _is_picture(member: tarfile.TarInfo) -> bool:
    return member.isfile() and PurePosixPath(member.name).suffix.lower() in SUFFIXES


def _decode(path: Path, size) -> dict:
    """Unpacked in memory first: tarfile alone takes a compressed file that was cut short for a whole one."""
    found = {}
    try:
        with {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)(path, "rb") as packed:
            raw = io.BytesIO(packed.read())
        with tarfile.open(fileobj=raw) as archive:
            listed = [member for member in archive if _is_picture(member)]
            for member in tqdm(listed, desc=f"decoding {path.name}", unit=" images", delay=3, leave=False):
                found[PurePosixPath(member.name).parts[-3:]] = pixels(archive.extractfile(member), size)
    except BROKEN as error:
        raise DataError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    keys = sorted(found)
    if not keys or any(len(key) < 3 or key[0] not in ("train", "test") for key in keys):
        raise DataError(f"expected pictures as train/<class>/* and test/<class>/* in {path}, found others or none")
    arrays = {"classes": np.array(sorted({key[1] for key in keys}))}
    for part in sorted({key[0] for key in keys}):
        chosen = [key for key in keys if key[0] == part]
        arrays[f"{part}_images"] = np.stack([found.pop(key) for key in chosen])
        arrays[f"{part}_labels"] = np.searchsorted(arrays["classes"], [key[1] for key in chosen])
    return arrays


def _recall(kept: Path) -> dict | None:
    if not kept.exists():
        return None
    try:
        with np.load(kept) as arrays:
            return {key: arrays[key] for key in arrays}
    except BROKEN as error:
        logging.getLogger("fcdd").warning("%s is damaged (%s) and is made again", kept, error)
        return None


def _keep(kept: Path, arrays: dict) -> None:
    """Writes beside the file and then moves it there, so that no other process ever sees half of it."""
    unfinished = kept.with_name(f"{kept.stem}-{os.getpid()}.tmp")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(unfinished, kept)
    except OSError as error:  # no room, or a folder that only others may write: slower, but no reason to stop
        with contextlib.suppress(OSError):
            unfinished.unlink()
        logging.getLogger("fcdd").warning("%s could not be written (%s); it is decoded anew each time", kept, error)

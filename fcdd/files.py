"""Safetensors in and out: arrays, and numbers as metadata. Knows no class. Taught in: the page on the library."""

import glob
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np
import psutil
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FORMAT = "fcdd-1"


def write(path, kind: str, parameters: dict, fitted: dict, arrays: dict) -> None:
    """Writes a detector of the class named ``kind``: beside the file first, then moved into its place.

    Raises ValueError for parameters that no file can hold: networks as modules, kernels as functions. Of a source of
    outliers only a name is kept, as it is needed for training only.
    """
    parameters = {name: _plain(name, value) for name, value in parameters.items()}
    metadata = {"format": FORMAT, "class": kind, "parameters": json.dumps(parameters), "fitted": json.dumps(fitted)}
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    with whole(path) as partial:
        save_file(arrays, partial, metadata=metadata | {"sha256": _digest(metadata, arrays)})


def _digest(metadata: dict, arrays: dict) -> str:
    """sha256 over all that a file holds."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for key, array in sorted(arrays.items()):
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()


@contextmanager
def whole(path) -> Iterator[Path]:
    """A file to write to, beside ``path``, that is moved there at the end, on the disk first: whoever is killed, or
    reads meanwhile, has the old one or the new one. Makes the folder if need be. Raises OSError that names the file
    where there is no room or no right to write; then the old one is left."""
    path = Path(path)
    partial = path.with_name(f".{path.stem}-{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except (OSError, SafetensorError, RuntimeError) as error:  # what Python, Rust and PyTorch make of a full disk
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        raise OSError(f"{path} cannot be written ({error}): no room, or no right to; what was there stays") from error
    finally:
        partial.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what processes of this machine that were killed have left of ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}-{glob.escape(platform.node())}-*.part{path.suffix}"):
        if not psutil.pid_exists(int(left.name.rpartition(".part")[0].split("-")[-2])):
            left.unlink(missing_ok=True)


def _plain(name: str, value):
    """A parameter as JSON holds it."""
    if name == "exposure":
        return value if isinstance(value, str) else None
    if isinstance(value, dict):
        return {key: _plain(key, each) for key, each in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, PurePath):
        return str(value)
    try:
        json.dumps(value)
    except TypeError as error:
        got = type(value).__name__
        raise ValueError(f"expected a {name} by name: {got} objects cannot be made again from a file") from error
    return value


def read(path) -> tuple[str, dict, dict, dict]:
    """Class name, parameters, fitted numbers and arrays of :func:`write`, none of which hangs on the file any more.

    Raises FileNotFoundError; ValueError if the file is damaged, none of ours or of a newer version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at {path}; expected a file written by save()")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if (found := metadata.get("format")) == FORMAT:
                arrays = {key: np.array(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
                if metadata.pop("sha256", None) not in (None, _digest(metadata, arrays)):  # older versions wrote none
                    raise ValueError("its content has changed since it was written")
                given = json.loads(metadata["parameters"]).items()
                parameters = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
                return metadata["class"], parameters, dict(json.loads(metadata["fitted"])), arrays
    except Exception as error:  # of safetensors, NumPy and JSON, for what is damaged or was never written here
        raise ValueError(f"{path} is not a safetensors file or is cut short or changed ({error})") from error
    if str(found).startswith("fcdd-"):
        told = f"was written by a newer version of this library (format {found}, this one reads {FORMAT})"
        raise ValueError(f"{path} {told}; update it: pip install --upgrade fcdd-book")
    raise ValueError(f"{path} was not written by this library (expected format {FORMAT}, got {found})")

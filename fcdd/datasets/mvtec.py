"""MVTec-AD: photographs of fifteen industrial products and textures, with the masks of their defects.

5,354 images, CC BY-NC-SA 4.0: for non-commercial use. Source: Bergmann et al. 2019, *MVTec AD: A Comprehensive
Real-World Dataset for Unsupervised Anomaly Detection*. Taught in: chapter 06.
"""

import lzma
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from . import fetch
from .fetch import DataError, Entry, cache, places
from .folders import folder
from .split import Split

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = ("bottle", "cable", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush", "transistor", "zipper")
CATEGORIES = tuple(sorted(TEXTURES + OBJECTS))

OFFICIAL = "mvtec_anomaly_detection.tar.xz"
URL = f"https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/420938113-1629952094/{OFFICIAL}"
ARCHIVES = {  # and their sha256
    "mvtec_ad_256_bottle_screw.tar": "b4b5ba757170f5c5b302d3c621cfe0a2662062c05ff777fb5d7864836313cab4",
    OFFICIAL: "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
}


def mvtec(normal: str, root=None, size: tuple[int, int] = (224, 224), download: bool = False) -> Split:
    """One category in its official split; images (N, 3, H, W) and masks are resized to ``size`` = (H, W).

    ``normal`` is one of :data:`CATEGORIES`. Looked for as ``<category>/train/good`` in a folder whose name begins with
    mvtec, or one level below it, in ``root`` or where data lies (:func:`fcdd.datasets.places`); else in one of
    :data:`ARCHIVES`, which is unpacked once into the cache. ``download=True`` fetches the publisher's archive (5.3 GB)
    if need be, and goes on where an earlier attempt stopped. Test masks are at network resolution;
    :func:`~fcdd.datasets.folders.original_masks` reads them at the size of the files.

    Raises ValueError for an unknown category, FileNotFoundError with ways to get the data, and
    :class:`~fcdd.datasets.DataError` for damaged files.
    """
    if normal not in CATEGORIES:
        raise ValueError(f"unknown category {normal!r} of MVTec-AD; known: {', '.join(CATEGORIES)}")
    path = find_category(normal, root)
    if path is None and download:
        unpack(resume(URL, cache() / "mvtec" / OFFICIAL, ARCHIVES[OFFICIAL]))
        path = find_category(normal, cache())
    if path is None:
        looked = ", ".join(f"{place}/mvtec*" for place in places(root))
        raise FileNotFoundError(
            f"MVTec-AD's {normal} was not found. Looked for {normal}/train/good in {looked}. Either get {OFFICIAL} "
            "from https://www.mvtec.com/company/research/datasets/mvtec-ad (non-commercial use) and put it, or the "
            f"folder it unpacks to, into {cache() / 'mvtec'}; or set $FCDD_DATA to the folder that holds it; or let it "
            "be fetched with download=True (5.3 GB)."
        )
    return replace(folder(path, size), name=f"mvtec/{normal}")


def find_category(normal: str, root=None) -> Path | None:
    """The folder of one category, unpacked from an archive if need be; None if it is nowhere."""
    patterns = (f"{normal}/train/good", f"*/{normal}/train/good")
    for place in places(root):
        # A root that is given may have any name, and so may the folders below one that is named after the data set.
        itself = [place] if root is not None or _named(place) else []
        for base in (*itself, *sorted(p for p in place.glob("*") if _named(p) and p.is_dir())):
            for found in (hit for pattern in patterns for hit in sorted(base.glob(pattern))):
                return found.parents[1]
    for place in places(root):
        for archive in (place / part / name for part in ("", "mvtec") for name in ARCHIVES):
            if archive.is_file() and _holds(archive, normal):
                for found in unpack(archive).glob(f"**/{normal}/train/good"):
                    return found.parents[1]
    return None


def _named(path: Path) -> bool:
    return path.name.lower().startswith("mvtec")


def _holds(archive: Path, normal: str) -> bool:
    """Whether the category is in there; the official archive holds all, and takes minutes to look through."""
    if archive.name == OFFICIAL:
        return True
    with tarfile.open(archive) as file:
        return any(f"/{normal}/train/good/" in f"/{name}" for name in file.getnames())


def unpack(archive: Path) -> Path:
    """Unpacks an archive into a folder of the cache, all or nothing; returns the folder, at once if it is there.

    Raises :class:`DataError` if the archive is not the one whose checksum is known, or is damaged.
    """
    target = cache() / "mvtec" / archive.name.split(".")[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_dir():
            return target
        if fetch.sha256(archive) != ARCHIVES[archive.name]:
            raise DataError(f"{archive} is damaged: expected sha256 {ARCHIVES[archive.name]}; fetch it again")
        unfinished = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
        try:
            whole = unfinished / target.name  # a folder with usual rights, unlike the temporary one
            with tarfile.open(archive) as file:
                file.extractall(whole, filter="data")
            os.replace(whole, target)
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise DataError(f"{archive} cannot be unpacked ({error})") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


def resume(url: str, path: Path, sha256: str) -> Path:
    """Fetches a file, going on after what an earlier attempt left in ``<path>.part``; checks it; returns ``path``.

    Raises OSError if the address cannot be reached, :class:`DataError` if what came is not the file expected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with FileLock(f"{path}.lock"):
        if path.exists():
            return path
        start = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # nothing is left to fetch
                raise
        else:
            _append(answer, part, start if answer.status == 206 else 0)
        if fetch.sha256(part) != sha256:
            part.unlink()
            raise DataError(f"{url} did not give the file expected (sha256 {sha256}); what came was removed, try again")
        os.replace(part, path)
    return path


def _append(answer, part: Path, start: int) -> None:
    """Writes an answer of the server behind the first ``start`` bytes of the file."""
    total = start + int(answer.headers.get("Content-Length", 0)) or None
    with answer, part.open("ab") as file, tqdm(total=total, initial=start, unit="B", unit_scale=True) as bar:
        file.truncate(start)
        while block := answer.read(1 << 20):
            file.write(block)
            bar.update(len(block))
    if total and part.stat().st_size < total:
        raise OSError(
            f"the connection ended after {part.stat().st_size} of {total} bytes; try again to go on from there"
        )


FOLDERS = ("mvtec", "mvtec_anomaly_detection", "mvtec_ad", "mvtec_ad_256")
ENTRIES = {
    "mvtec": Entry(
        CATEGORIES,
        (*FOLDERS, *ARCHIVES),
        expects="one folder a category, or its archive",
        hints=("let it be fetched with fcdd.datasets.load('mvtec', ..., download=True), 5.3 GB",),
        split=mvtec,
    )
}

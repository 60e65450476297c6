"""Where data lies: data/cache, $FCDD_DATA, Debian's folder; and how it is fetched, with checksums."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml
from filelock import FileLock
from tqdm import tqdm

from ..errors import DataError

DEBIAN = Path("/usr/share/datasets")
EMBEDDED = Path(__file__).parent / "embedded"  # what is inside the package
FACTS = yaml.safe_load((Path(__file__).parent / "registry.yml").read_text(encoding="utf-8"))
SHA256 = {file: known for facts in FACTS.values() for file, known in facts.get("archives", {}).items()}


@dataclass(frozen=True)
class Entry:
    """One data set: its classes, where it lies, and how it is read and fetched; ``registry.yml`` explains the rest.

    read(path) gives class names and a dict of train_images, train_labels, test_images, test_labels, and takes ``size``
    where pictures are resized; fetch() downloads into the cache; source(path) is what a split says of its origin;
    split(normal, ...) gives a :class:`Split` by itself where the protocol is not one class against the rest; copy(path)
    gives the files of ``fcdd data copy``, {relative name: file}."""

    classes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    read: Callable = dict
    files: tuple[str, ...] = ()
    expects: str = ""
    fetch: Callable | None = None
    source: Callable = str
    hints: tuple[str, ...] = ()
    split: Callable | None = None
    copy: Callable | None = None
    exposure_only: bool = False


def listed(name: str, **code) -> Entry:
    """The data set's entry: what ``registry.yml`` says of it, with the functions that read and fetch it."""
    facts = FACTS[name]
    known = {key: facts[key] for key in Entry.__dataclass_fields__ if key in facts}
    known = {key: value if isinstance(value, str | bool) else tuple(value) for key, value in known.items()}
    if "torchvision" in facts:
        known["fetch"] = partial(_by_torchvision, **facts["torchvision"])
    return Entry(**{"source": lambda path: f"{path}{facts.get('said', {}).get(path.name, '')}"} | known | code)


def cache() -> Path:
    """``data/cache`` of the checkout; for an installed package without one, the user's cache folder."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / "data" / "cache"
    import pooch

    return Path(pooch.os_cache("fcdd"))


def places(root=None) -> list[Path]:
    """The folders to look in, in order; ``root`` alone if given. Raises FileNotFoundError for one that is not there."""
    said = [root] if root is not None else filter(None, os.environ.get("FCDD_DATA", "").split(os.pathsep))
    named = [Path(path) for path in said]
    if missing := ", ".join(str(path) for path in named if not path.is_dir()):
        origin = "root" if root is not None else f"$FCDD_DATA (folders separated by {os.pathsep!r})"
        raise FileNotFoundError(f"{origin} names {missing}, which is not a folder; create it or correct the name")
    return named if root is not None else [cache(), *named, DEBIAN]


def find(inside: tuple[str, ...], files: tuple[str, ...] = (), root=None) -> Path | None:
    """The first file or folder named in ``inside`` that a place holds, with all ``files`` (or their .gz) in it. A place
    that itself ends in such a name counts too; any other does not, as data sets share their files' names."""
    for place in places(root):
        itself = [place] if any(map(place.match, inside)) else []
        for path in (*itself, *(place / part for part in inside)):
            if path.exists() and all((path / file).exists() or (path / f"{file}.gz").exists() for file in files):
                return path
    return None


def locate(name: str, entry: Entry, root=None, may_download: bool = False) -> Path | None:
    """Where a data set lies, fetched if need be; None if it has no files. Its FileNotFoundError says how to get it."""
    if not entry.places:
        return None
    path = find(entry.places, entry.files, root)
    if path is None and may_download and entry.fetch:
        entry.fetch()
        path = find(entry.places, entry.files, cache())
    if path is None:
        looked = ", ".join(f"{place}/{part}" for place in places(root) for part in entry.places)
        raise FileNotFoundError(how_to_get(name, entry, looked))
    logging.getLogger("fcdd").info("%s: read from %s", name, path)
    return path


def how_to_get(name: str, entry: Entry, looked: str) -> str:
    """What an error says about data that was not found where it was looked for."""
    ways = [f"put {entry.expects} there", "set $FCDD_DATA to the folder that holds it"]
    ways += [f"let it be fetched with: fcdd data fetch {name}"] if entry.fetch else []
    return f"{name} was not found. Looked for {looked}. Either " + "; or ".join([*ways, *entry.hints]) + "."


def verify(path: Path) -> str:
    """The sha256 of a file. Raises :class:`DataError` if the file is a known one and has been changed."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256.get(path.name, found):
        raise DataError(f"{path} is damaged: expected sha256 {SHA256[path.name]}, got {found}; fetch it again")
    return found


def checksums(name: str, path: Path | None) -> dict[Path, str | None]:
    """The files that tell whether a data set at ``path`` (None: inside the package) is whole, with the sha256 of their
    content (.gz: of what is packed), None where it is not known. Empty if nothing is known of a folder."""
    facts = FACTS.get(name, {})
    if path is None:
        return {EMBEDDED / file: sha256 for file, sha256 in facts.get("archives", {}).items()}
    if path.is_file():
        return {path: SHA256.get(path.name)}
    known = facts.get("unpacked", {}) if facts.get("checked_in", path.name) in path.parts else {}
    files = {path / facts["files"][key]: sha256 for key, sha256 in known.items()}
    return {file if file.exists() else file.with_name(f"{file.name}.gz"): sha256 for file, sha256 in files.items()}


def _by_torchvision(kind: str, **options) -> None:
    """Fetches a data set into the cache as torchvision's class of that name does, with its checksums."""
    from torchvision import datasets  # here, as it takes a while to import

    getattr(datasets, kind)(cache(), **options, download=True)


def download(name: str, urls: dict[str, str], hashes: dict[str, str]) -> Path:
    """Fetches ``{file: address}`` into a folder of the cache, each checked against its hash; goes on where it stopped.
    Raises OSError if an address cannot be reached or the connection ends, :class:`DataError` if another file came."""
    import pooch  # here, because importing it takes a second that most uses can save

    target = cache() / name
    for file, url in urls.items():
        with FileLock(target / f"{file}.lock"):
            try:
                pooch.retrieve(url, hashes[file], file, target, downloader=partial(_resume, target / f"{file}.part"))
            except ValueError as error:
                told = f"{url} did not give the file expected ({error}); what came was removed, try again"
                raise DataError(told) from error
    return target


def _resume(part: Path, url: str, output: str, _) -> None:
    """A downloader for pooch that goes on behind what is in ``part``; its own keep nothing of a broken download."""
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urlopen(request, timeout=60) as answer, part.open("ab") as file:
            start = start if answer.status == 206 else 0  # some servers start anew whatever they are asked
            total = start + int(answer.headers.get("Content-Length", 0))
            file.truncate(start)
            with tqdm.wrapattr(file, "write", total=total or None, initial=start) as counted:
                shutil.copyfileobj(answer, counted, 1 << 20)
        if (done := part.stat().st_size) < total:
            raise OSError(f"the connection ended after {done} of {total} bytes; try again to go on from there")
    except HTTPError as error:
        if error.code != 416:  # nothing is left to fetch
            raise
    os.replace(part, output)

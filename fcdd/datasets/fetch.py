"""Where data lies: data/cache, $FCDD_DATA, Debian's folder; and how it is fetched, with checksums."""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEBIAN = Path("/usr/share/datasets")

SHA256 = {  # of the archives that other people packed; what is fetched is checked where it is fetched
    "cifar10_jpg.tar.xz": "cadfdcb5ef0cffaeccaeb0e3a37352f96e1e3affc55285a7352920bd840629c2",
    "imagenet_sample_256.tar": "67047e342bd79c7aba595dfe1a6ef03f73e346977794c6bd4d59433d5ba075aa",
    "omniglot_small_28.npz": "00b10092505436e4ebae2086f4fe11dca97eade68702c192563bf8b93e2e40a3",
    "tinyimagenet32_jpg.tar.xz": "a1d532f6278fa636a656479c8276ee0e55828cade74c83c0a7e71b6ec7aa761c",
}


class DataError(ValueError):
    """A data file is damaged: cut short, changed, or not what its name says."""


@dataclass(frozen=True)
class Entry:
    """One data set of the registry: its classes, where it lies, and how it is read and fetched.

    classes: in label order, None where only the data tells; places: the files or folders it is known under, best
    first; files: what such a folder must hold (or their .gz); expects: the same in words; read(path) gives class names
    and a dict of train_images, train_labels, test_images, test_labels, and takes ``size`` where pictures are resized;
    fetch(): downloads into the cache; source(path): what a split says about where it came from; hints: other ways to
    get it; split(normal, ...) gives a :class:`Split` by itself where the protocol is not one class against the rest.
    """

    classes: tuple[str, ...] | None = None
    places: tuple[str, ...] = ()
    read: Callable | None = None
    files: tuple[str, ...] = ()
    expects: str = ""
    fetch: Callable | None = None
    source: Callable = str
    hints: tuple[str, ...] = ()
    split: Callable | None = None
    exposure_only: bool = False


def cache() -> Path:
    """``data/cache`` of the checkout; for an installed package without one, the user's cache folder."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / "data" / "cache"
    import pooch

    return Path(pooch.os_cache("fcdd"))


def places(root=None) -> list[Path]:
    """The folders to look in, first one first; ``root`` alone if given.

    Raises FileNotFoundError if ``root`` or a folder named by ``$FCDD_DATA`` does not exist.
    """
    named = [root] if root is not None else [p for p in os.environ.get("FCDD_DATA", "").split(os.pathsep) if p]
    missing = [str(p) for p in named if not Path(p).is_dir()]
    if missing:
        origin = "root" if root is not None else f"$FCDD_DATA (folders separated by {os.pathsep!r})"
        raise FileNotFoundError(
            f"{origin} names {', '.join(missing)}, which is not a folder; create it or correct the name"
        )
    return [Path(root)] if root is not None else [cache(), *map(Path, named), DEBIAN]


def find(inside: tuple[str, ...], files: tuple[str, ...] = (), root=None) -> Path | None:
    """The first file or folder that exists, with all ``files`` (or their .gz) in it, looking in every place under every
    name in ``inside``.

    A place that itself ends in such a name counts too; any other does not, as data sets share their files' names.
    """
    for place in places(root):
        itself = [place] if any(place.parts[-len(Path(part).parts) :] == Path(part).parts for part in inside) else []
        for path in (*itself, *(place / part for part in inside)):
            if path.exists() and all((path / file).exists() or (path / f"{file}.gz").exists() for file in files):
                return path
    return None


def locate(name: str, entry: Entry, root=None, may_download: bool = False) -> Path | None:
    """Where a data set lies, fetched if need be; None if it has no files.

    Raises FileNotFoundError that says where it was looked for and how to get it.
    """
    if not entry.places:
        return None
    path = find(entry.places, entry.files, root)
    if path is None and may_download and entry.fetch:
        entry.fetch()
        path = find(entry.places, entry.files, cache())
    if path is None:
        raise FileNotFoundError(_how_to_get(name, entry, root))
    logging.getLogger("fcdd").info("%s: read from %s", name, path)
    return path


def _how_to_get(name: str, entry: Entry, root) -> str:
    looked = ", ".join(f"{place}/{part}" for place in places(root) for part in entry.places)
    ways = [f"put {entry.expects} there", "set $FCDD_DATA to the folder that holds it"]
    ways += [f"let it be fetched with: fcdd data {name} --download"] if entry.fetch else []
    return f"{name} was not found. Looked for {looked}. Either " + "; or ".join([*ways, *entry.hints]) + "."


def sha256(path: Path) -> str:
    """The sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path) -> str:
    """The sha256 of a file. Raises :class:`DataError` if the file is a known one and has been changed."""
    found = sha256(path)
    if found != SHA256.get(path.name, found):
        raise DataError(f"{path} is damaged: expected sha256 {SHA256[path.name]}, got {found}; fetch it again")
    return found


def download(name: str, urls: dict[str, str], hashes: dict[str, str]) -> Path:
    """Fetches ``{file: address}`` into the cache, checks every file against its hash, shows a progress bar."""
    import pooch  # here, because importing it takes a second that most uses can save

    target = cache() / name
    for file, url in urls.items():
        pooch.retrieve(url, known_hash=hashes[file], fname=file, path=target, progressbar=True)
    return target

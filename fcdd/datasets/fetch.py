"""Where data lies: data/cache, $FCDD_DATA, Debian's folder; and how it is fetched, with checksums."""

import os
from pathlib import Path

DEBIAN = Path("/usr/share/datasets")


class DataError(ValueError):
    """A data file is damaged: cut short, changed, or not what its name says."""


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


def find(name: str, inside: tuple[str, ...], files: tuple[str, ...], root=None) -> Path | None:
    """The first folder that holds all ``files`` (or their .gz), looking in every place under every name in ``inside``.

    A place that itself ends in such a name counts too; any other does not, as data sets share their files' names.
    """
    for place in places(root):
        itself = [place] if any(place.parts[-len(Path(part).parts) :] == Path(part).parts for part in inside) else []
        for folder in (*itself, *(place / part for part in inside)):
            if all((folder / file).exists() or (folder / f"{file}.gz").exists() for file in files):
                return folder
    return None


def download(name: str, urls: dict[str, str], hashes: dict[str, str]) -> Path:
    """Fetches ``{file: address}`` into the cache, checks every file against its hash, shows a progress bar."""
    import pooch  # here, because importing it takes a second that most uses can save

    target = cache() / name
    for file, url in urls.items():
        pooch.retrieve(url, known_hash=hashes[file], fname=file, path=target, progressbar=True)
    return target

"""Which classes of an exposure set show what a data set shows too: reads ``overlaps.yml``, where they are listed."""

from pathlib import Path

import yaml

from .fetch import FACTS

_LISTS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
IMAGENET = _LISTS["kinds"] | {"its-thirty": " ".join(FACTS["imagenet-30"]["classes"].values())}
OVERLAPS = {
    exposure: {data: " ".join(IMAGENET.get(each, each) for each in listed.split()) for data, listed in pairs.items()}
    for exposure, pairs in _LISTS["overlaps"].items()
}


def overlapping(exposure: str, data: str, classes) -> list[str]:
    """The classes of ``exposure`` that overlap with the data set ``data``; ValueError if they were not compared."""
    exposure, data = (name.removesuffix("-small") for name in (exposure, data))
    if data == exposure:
        return list(classes)
    if data not in (known := OVERLAPS.get(exposure, {})):
        told = f"which classes of {exposure} overlap with {data} is not known (known: {', '.join(known) or 'none'})"
        raise ValueError(f"{told}; name the classes to leave out")
    return within(known[data], classes)


def within(listed: str, classes) -> list[str]:
    """The classes that are listed, or lie in a range that is."""
    spans = [(item.split("-")[0], item.split("-")[-1]) for item in listed.split()]
    return [name for name in classes if any(first <= name <= last for first, last in spans)]

"""Which part of a profile is asked for: names are checked, and runs listed, before anything is run.

Taught in: chapter 08.
"""

from typing import NamedTuple

from . import protocol


class Part(NamedTuple):
    """What is asked for on one data set; no ``classes`` stand for all that it or its ablation has."""

    profile: str
    dataset: str
    methods: list[str]
    classes: list[str]
    ablations: list[str]

    def runs(self) -> list[protocol.Run]:
        """The runs of its methods, then those of its ablations."""
        plain = protocol.runs(self.profile, self.methods, self.classes, self.dataset) if self.methods else []
        return plain + [run for name in self.ablations for run in self.ablation(name)]

    def ablation(self, name: str) -> list[protocol.Run]:
        runs = protocol.ablation(self.profile, name, self.dataset)
        return [run for run in runs if not self.classes or run.normal in self.classes]


def parts(profile: str, datasets=(), methods=(), classes=(), ablations=()) -> list[Part]:
    """The parts of a profile with these names, one a data set; all of a kind if it names none, without what is marked
    ``later``.

    Each data set takes the names that it knows, and one that knows none is left out. Methods or classes alone ask for
    no ablation, ablations alone for no method. Raises ValueError for a name that none of the data sets knows, and if
    nothing is left.
    """
    chosen = _chosen(protocol.data_sets(profile), datasets, "data set", profile)
    entries = {name: protocol.profile(profile, name) for name in chosen}
    known = {name: protocol.classes(profile, name) if classes else [] for name in chosen}
    for asked, kind in ((methods, "method"), (ablations, "ablation")):
        _chosen([each for entry in entries.values() for each in entry[kind + "s"]], asked, kind, profile)
    _chosen([each for names in known.values() for each in names], classes, "class", profile)
    found = [
        _part(profile, name, methods, [c for c in known[name] if c in classes], ablations)
        for name in chosen
        if not classes or set(classes) & set(known[name])
    ]
    found = [part for part in found if part.methods or part.ablations]
    if not found:
        asked = [", ".join(names) for names in (datasets, methods, ablations, classes) if names]
        raise ValueError(f"nothing to run: in profile {profile} no data set has all of these: {'; '.join(asked)}")
    return found


def _part(profile: str, dataset: str, methods, classes: list[str], ablations) -> Part:
    entry = protocol.profile(profile, dataset)
    plain = methods or ([] if ablations else entry["methods"])
    unasked = [name for name, study in entry["ablations"].items() if not study.get("later")]
    others = ablations or ([] if methods or classes else unasked)
    part = Part(profile, dataset, [name for name in entry["methods"] if name in plain], classes, [])
    found = [name for name in entry["ablations"] if name in others and (not classes or part.ablation(name))]
    return part._replace(ablations=found)


def _chosen(known: list[str], asked, kind: str, profile: str) -> list[str]:
    """Those of ``known`` that are asked for, all if none are."""
    known = list(dict.fromkeys(known))
    if unknown := [name for name in asked if name not in known]:
        raise ValueError(
            f"unknown {kind} {', '.join(map(repr, unknown))} in profile {profile}; known: {', '.join(known) or 'none'}"
        )
    return [name for name in known if not asked or name in asked]

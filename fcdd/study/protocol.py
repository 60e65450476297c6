"""What a run is: one data set, nominal class, method, seed and profile. This file and profiles.yml say it all.

A run's split, its detector and its record all follow from its five names, so that every number in the book can be
traced to one of them and made again. Imports of PyTorch wait until something is trained. Taught in: chapter 08.
"""

import hashlib
import importlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import grimp
import yaml

PROFILES = yaml.safe_load((Path(__file__).parent / "profiles.yml").read_text(encoding="utf-8"))

# Method, estimator, share of labelled anomalies in training. Deep SAD's 5 % is the paper's middle setting.
METHODS = {
    "svdd": ("SVDD", 0.0),
    "deep-svdd": ("DeepSVDD", 0.0),
    "deep-sad": ("DeepSAD", 0.05),
    "hsc": ("HSC", 0.0),
    "fcdd": ("FCDD", 0.0),
}


def profile(name: str) -> dict:
    """The profile's entry in profiles.yml. Raises ValueError for an unknown name."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
    return PROFILES[name]


def settings(profile_name: str, method: str) -> dict:
    """The method's constructor arguments in this profile. Raises ValueError for an unknown method."""
    methods = profile(profile_name)["methods"]
    if method not in methods:
        raise ValueError(f"unknown method {method!r} in profile {profile_name}; known: {', '.join(methods)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in methods[method].items()}


def selection(profile_name: str) -> dict:
    """Which images a profile takes: data set, number of training and of test images."""
    return {key: profile(profile_name)[key] for key in ("dataset", "train", "test")}


def classes(profile_name: str) -> list[str]:
    """The nominal classes of a profile, in the data set's order."""
    from .. import datasets

    entry = profile(profile_name)
    return datasets.classes(entry["dataset"]) if entry["classes"] == "all" else list(entry["classes"])


@dataclass(frozen=True)
class Run:
    """One run; ``id`` is its name everywhere, in records, tables and under figures."""

    dataset: str
    normal: str
    method: str
    seed: int
    profile: str

    @property
    def id(self) -> str:
        return f"{self.profile}/{self.dataset}/{self.method}/{_slug(self.normal)}-seed{self.seed}"


def runs(profile_name: str, methods=None, nominal=None) -> list[Run]:
    """All runs of a profile, or those of some methods and nominal classes. Raises ValueError for unknown ones."""
    entry = profile(profile_name)
    for method in methods or []:
        settings(profile_name, method)
    unknown = set(nominal or []) - set(classes(profile_name))
    if unknown:
        raise ValueError(
            f"unknown classes {sorted(unknown)} in profile {profile_name}; known: {', '.join(classes(profile_name))}"
        )
    return [
        Run(entry["dataset"], normal, method, seed, profile_name)
        for method in methods or entry["methods"]
        for normal in nominal or classes(profile_name)
        for seed in (
            entry["seeds"][:1] if method == "svdd" else entry["seeds"]
        )  # SVDD has one optimum, whatever the seed
    ]


def run(profile_name: str, method: str, normal: str, seed: int = 0) -> Run:
    """One run of a profile by name, to train it in a chapter and to name it under a figure."""
    settings(profile_name, method)
    return Run(profile(profile_name)["dataset"], normal, method, int(seed), profile_name)


def split(profile_name: str, normal: str, *, labelled: float = 0.0, seed: int = 0):
    """The profile's images with ``normal`` nominal, cut to the sizes the profile names."""
    from .. import datasets

    entry = profile(profile_name)
    whole = datasets.load(entry["dataset"], normal, labelled=labelled, seed=seed)
    train, test = whole.train, whole.test
    if entry["train"]:
        nominal = (~train.anomalous).nonzero()[0][: entry["train"]]
        few = int(round(labelled / (1 - labelled) * len(nominal)))
        train = _take(train, [*nominal, *train.anomalous.nonzero()[0][:few]])
    if entry["test"]:
        test = _take(
            test, [i for name in sorted(set(test.names)) for i in (test.names == name).nonzero()[0][: entry["test"]]]
        )
    return replace(whole, train=train, test=test)


def _take(images, chosen):
    parts = {key: getattr(images, key)[chosen] for key in ("images", "y", "anomalous", "names")}
    return replace(images, **parts)


def estimator(method: str):
    """The class of a method, imported now."""
    return getattr(importlib.import_module("fcdd"), METHODS[method][0])


def detector(run: Run, device: str = "auto"):
    """The run's detector, not yet fitted."""
    options = {} if run.method == "svdd" else {"seed": run.seed, "device": device}
    return estimator(run.method)(**settings(run.profile, run.method), **options)


def execute(run: Run, device: str = "auto") -> dict:
    """Trains and evaluates one run; returns its record (see records.py for its form)."""
    from .. import metrics
    from . import records

    began = time.perf_counter()
    data = split(run.profile, run.normal, labelled=METHODS[run.method][1], seed=run.seed)
    model = detector(run, device).fit(data.train.images, data.train.y)
    fitted = time.perf_counter()
    scores = model.anomaly_score(data.test.images)
    return {
        "schema": records.SCHEMA_VERSION,
        "run": {**run.__dict__, "id": run.id},
        "settings": settings(run.profile, run.method),
        "selection": selection(run.profile),
        "metrics": {"auroc": metrics.auroc(data.test.anomalous, scores)},
        "history": list(getattr(model, "history_", [])),
        "images": {"train": len(data.train), "test": len(data.test)},
        "data": {"sha256": data_hash(data), "source": _public(data.source)},
        "code": {"sha256": code_hash(run.method), "commit": records.commit()},
        "device": str(getattr(model, "device_", "cpu")),
        "versions": records.versions(),
        "seconds": {"fit": fitted - began, "score": time.perf_counter() - fitted},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def data_hash(data) -> str:
    """sha256 over the images and labels that a run sees."""
    digest = hashlib.sha256()
    for part in (data.train, data.test):
        for array in (part.images.numpy(), part.y.numpy()):
            digest.update(array.tobytes())
    return digest.hexdigest()


@cache
def _imports() -> grimp.ImportGraph:
    graph = grimp.build_graph("fcdd", cache_dir=None)
    # Writing a model to a file changes none of its numbers.
    graph.remove_import(importer="fcdd.detectors", imported="fcdd.export")
    return graph


@cache
def code_files(method: str) -> tuple[Path, ...]:
    """The files of this library that a method's numbers depend on: what its estimator and the protocol import."""
    home = "fcdd.svdd" if method == "svdd" else "fcdd.detectors"
    # The protocol can import every estimator; only its own text counts here.
    return tuple(sorted({Path(__file__), *_closure((home, "fcdd.datasets", "fcdd.metrics"))}))


def files_behind(names: set[str], *modules: str) -> tuple[Path, ...]:
    """The files behind the library's ``names`` (estimators or modules) that a text mentions, and behind ``modules``."""
    import fcdd

    homes = {"fcdd" + home for name, home in fcdd._HOME.items() if name in names}
    parts = {module for module in _imports().modules if module.count(".") == 1 and module.split(".")[1] in names}
    return tuple(sorted(_closure(sorted(homes | parts | set(modules)))))


def _closure(roots) -> set[Path]:
    graph = _imports()
    return {_file(module) for root in roots for module in {root} | graph.find_upstream_modules(root)}


def _file(module: str) -> Path:
    base = Path(__file__).parents[2].joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def code_hash(method: str) -> str:
    """sha256 over :func:`code_files`."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in code_files(method))).hexdigest()


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _public(source: str) -> str:
    """A source without the folders of this machine in front, fit to be committed."""
    return Path(source).name if Path(source).is_absolute() else source

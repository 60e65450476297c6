"""What a run is: one data set, nominal class, method, seed and profile. This file and profiles.yml say it all.

A run's split, its detector and its record all follow from its five names, so that every number in the book can be
traced to one of them and made again. Imports of PyTorch wait until something is trained. Taught in: chapter 08.
"""

import hashlib
import importlib
import inspect
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

PROFILES = yaml.safe_load((Path(__file__).parent / "profiles.yml").read_text(encoding="utf-8"))

# Method: module and name of its estimator, share of labelled anomalies in training (5 % is Deep SAD's middle setting).
METHODS = {
    "svdd": ("svdd", "SVDD", 0.0),
    "deep-svdd": ("detectors", "DeepSVDD", 0.0),
    "deep-sad": ("detectors", "DeepSAD", 0.05),
    "hsc": ("detectors", "HSC", 0.0),
    "bce": ("detectors", "HSC", 0.0),  # the plain classifier beside it
    "fcdd": ("detectors", "FCDD", 0.0),
    "autoencoder": ("detectors", "Autoencoder", 0.0),
    "kde": ("baselines", "kde", 0.0),
    "isolation-forest": ("baselines", "isolation_forest", 0.0),
    "pca-ocsvm": ("baselines", "pca_ocsvm", 0.0),
}
WITHOUT_CHANCE = {"svdd", "kde", "pca-ocsvm"}  # one optimum, whatever the seed


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
    """One run; ``id`` is its name everywhere, in records, tables and under figures.

    ``exposure`` is a source of outliers in the place of the profile's, for the methods that are trained with one.
    """

    dataset: str
    normal: str
    method: str
    seed: int
    profile: str
    exposure: str | None = None

    @property
    def id(self) -> str:
        method = self.method + (f"+{_slug(self.exposure)}" if self.exposure else "")
        return f"{self.profile}/{self.dataset}/{method}/{_slug(self.normal)}-seed{self.seed}"

    @property
    def settings(self) -> dict:
        """The constructor arguments of its detector, without seed and device."""
        return settings(self.profile, self.method) | ({"exposure": self.exposure} if self.exposure else {})


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
        for seed in (entry["seeds"][:1] if method in WITHOUT_CHANCE else entry["seeds"])
    ]


def run(profile_name: str, method: str, normal: str, seed: int = 0, exposure: str | None = None) -> Run:
    """One run of a profile by name, to train it in a chapter and to name it under a figure.

    Raises ValueError for unknown names, and for an ``exposure`` that the method would not be trained with.
    """
    settings(profile_name, method)
    if exposure is not None and "exposure" not in inspect.signature(estimator(method)).parameters:
        raise ValueError(f"{method} is trained without outliers, got exposure={exposure!r}; use method hsc or fcdd")
    return Run(profile(profile_name)["dataset"], normal, method, int(seed), profile_name, exposure)


def split(profile_name: str, normal: str, **shares):
    """The profile's images with ``normal`` nominal, cut to the sizes the profile names.

    ``shares``: labelled, pollution, known_classes and seed, as in :func:`fcdd.datasets.load`.
    """
    from .. import datasets

    entry = profile(profile_name)
    whole = datasets.load(entry["dataset"], normal, **shares)
    train, test = whole.train, whole.test
    if entry["train"]:
        kept = entry["train"] / (~train.anomalous).sum()
        labelled_ones = train.y.numpy() < 0
        groups = ~train.anomalous, train.anomalous & ~labelled_ones, labelled_ones
        train = train.take([i for g in groups for i in g.nonzero()[0][: round(kept * g.sum())]])
    if entry["test"]:
        test = test.take(
            [i for name in sorted(set(test.names)) for i in (test.names == name).nonzero()[0][: entry["test"]]]
        )
    return replace(whole, train=train, test=test)


def estimator(method: str):
    """What makes a method's detector, imported now: a class, or a function of fcdd.baselines."""
    module, name, _ = METHODS[method]
    return getattr(importlib.import_module(f"fcdd.{module}"), name)


def detector(run: Run, device: str = "auto"):
    """The run's detector, not yet fitted."""
    make = estimator(run.method)
    chance = {} if run.method in WITHOUT_CHANCE else {"seed": run.seed, "device": device}
    return make(**run.settings, **{key: chance[key] for key in inspect.signature(make).parameters if key in chance})


def execute(run: Run, device: str = "auto") -> dict:
    """Trains and evaluates one run; returns its record (see records.py for its form)."""
    from .. import metrics
    from . import code, records

    began = time.perf_counter()
    data = split(run.profile, run.normal, labelled=METHODS[run.method][2], seed=run.seed)
    model = detector(run, device).fit(data.train.images, data.train.y)
    fitted = time.perf_counter()
    scores = -model.score_samples(data.test.images)
    return {
        "schema": records.SCHEMA_VERSION,
        "run": asdict(run) | {"id": run.id},
        "settings": run.settings,
        "selection": selection(run.profile),
        "metrics": {"auroc": metrics.auroc(data.test.anomalous, scores)},
        "history": list(getattr(model, "history_", [])),
        "images": {"train": len(data.train), "test": len(data.test)},
        "data": {"sha256": data_hash(data), "source": _public(data.source)},
        "code": {"sha256": code.of_method(run.method), "commit": records.commit()},
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


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _public(source: str) -> str:
    """A source without the folders of this machine in front, fit to be committed."""
    return Path(source).name if Path(source).is_absolute() else source

"""What a run is: one data set, nominal class, method, seed and profile. This file and profiles.yml say it all.

A run's split, its detector and its metrics all follow from its names, so that every number in the book can be
traced to one of them and made again. Imports of PyTorch wait until something is trained. Taught in: chapter 08.
"""

import importlib
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

PROFILES = yaml.safe_load((Path(__file__).parent / "profiles.yml").read_text(encoding="utf-8"))


class Method(NamedTuple):
    """Module and name of what makes the detector, and what is asked of the split besides the nominal class."""

    module: str
    estimator: str
    shares: dict = {}


METHODS = {
    "svdd": Method("fcdd.svdd", "SVDD"),
    "deep-svdd": Method("fcdd.detectors", "DeepSVDD"),
    "deep-sad": Method("fcdd.detectors", "DeepSAD", {"labelled": 0.05}),  # 5 % is the paper's middle setting
    "hsc": Method("fcdd.detectors", "HSC"),
    "bce": Method("fcdd.detectors", "HSC"),  # the plain classifier beside it
    "fcdd": Method("fcdd.detectors", "FCDD"),
    "fcdd-features": Method("fcdd.detectors", "FCDD"),  # as it comes: noise on frozen features
    "fcdd-semi": Method(
        "fcdd.detectors", "FCDD", {"defects": 1}
    ),  # one labelled image with its mask of each defect type
    "fcdd-leak": Method(
        "fcdd.detectors", "FCDD", {"defects": 1, "leak": True}
    ),  # they stay in the test set: official code
    "patches": Method("fcdd.patches", "PatchNeighbours"),
    "autoencoder": Method("fcdd.detectors", "Autoencoder"),
    "kde": Method("fcdd_study.baselines", "kde"),
    "isolation-forest": Method("fcdd_study.baselines", "isolation_forest"),
    "pca-ocsvm": Method("fcdd_study.baselines", "pca_ocsvm"),
}
WITHOUT_CHANCE = {"svdd", "kde", "pca-ocsvm"}  # one optimum, whatever the seed
# What a change may ask of the split; "size" takes the place of the profile's.
OF_THE_SPLIT = ("labelled", "pollution", "known_classes", "defects", "leak", "size")
GAIN = "exposure_gain"  # a setting of the study alone: frequencies above .2 cycles a pixel of the outliers times this
BACKBONES = ("mobilenet", "squeezenet", "vgg11bn", "auto")  # in names of networks that take photographs, one at a time


def data_sets(name: str) -> list[str]:
    """The data sets of a profile, its own first. Raises ValueError for an unknown profile."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
    return list(PROFILES[name])


def profile(name: str, dataset: str | None = None) -> dict:
    """A profile's entry in profiles.yml for one of its data sets, the first one if None, with its name as "dataset".

    Raises ValueError for an unknown profile or data set.
    """
    known = data_sets(name)
    dataset = known[0] if dataset is None else dataset
    if dataset not in known:
        raise ValueError(f"unknown data set {dataset!r} in profile {name}; known: {', '.join(known)}")
    usual = {"train": None, "test": None, "options": {}, "seeds_of": {}, "size_of": {}, "ablations": {}, "hours": None}
    return {"dataset": dataset} | usual | PROFILES[name][dataset]


def settings(profile_name: str, method: str, dataset: str | None = None) -> dict:
    """The method's constructor arguments in this profile. Raises ValueError for an unknown method."""
    methods = profile(profile_name, dataset)["methods"]
    if method not in methods:
        raise ValueError(f"unknown method {method!r} in profile {profile_name}; known: {', '.join(methods)}")
    return {key: _frozen(value) for key, value in methods[method].items()}


def classes(profile_name: str, dataset: str | None = None) -> list[str]:
    """The nominal classes of a profile, in the data set's order."""
    from fcdd import datasets

    entry = profile(profile_name, dataset)
    return datasets.classes(entry["dataset"]) if entry["classes"] == "all" else list(entry["classes"])


@dataclass(frozen=True)
class Run:
    """One run; ``id`` is its name everywhere, in records, tables and under figures.

    ``changes`` are settings in the place of the profile's, ((name, value), ...), as an ablation makes them: of the
    detector, or of the split (:data:`OF_THE_SPLIT`). They are part of the run's name.
    """

    dataset: str
    normal: str
    method: str
    seed: int
    profile: str
    changes: tuple = ()

    @property
    def label(self) -> str:
        """The method with what was changed: "fcdd", "fcdd+exposure=confetti"."""
        return self.method + "".join(f"+{key}={value}" for key, value in self.changes)

    @property
    def id(self) -> str:
        return f"{self.profile}/{self.dataset}/{_slug(self.label)}/{_slug(self.normal)}-seed{self.seed}"

    @property
    def settings(self) -> dict:
        """The constructor arguments of its detector, without seed and device."""
        changed = {key: value for key, value in self.changes if key not in OF_THE_SPLIT}
        return settings(self.profile, self.method, self.dataset) | changed

    @property
    def shares(self) -> dict:
        """What it asks of its split."""
        size = profile(self.profile, self.dataset)["size_of"].get(self.method)
        own = METHODS[self.method].shares | ({} if size is None else {"size": _frozen(size)})
        return own | {key: value for key, value in self.changes if key in OF_THE_SPLIT}

    @property
    def selection(self) -> dict:
        """Which images it takes of its data set: how many, and the data set's options."""
        entry = profile(self.profile, self.dataset)
        size = {"size": self.shares["size"]} if "size" in self.shares else {}
        chosen = {key: entry[key] for key in ("dataset", "train", "test")}
        return chosen | {"options": {key: _frozen(value) for key, value in entry["options"].items()} | size}

    @property
    def stackable(self) -> bool:
        """Whether it can be trained at once with runs that differ only in class and seed."""
        if METHODS[self.method].module != "fcdd.detectors" or self.shares.get("defects"):
            return False
        network = self.settings.get("network", defaults(self.method)["network"])
        return not any(name in network for name in BACKBONES)


def runs(
    profile_name: str, methods: Sequence[str] | None = None, nominal: Sequence[str] | None = None, dataset=None
) -> list[Run]:
    """All runs of a profile on one of its data sets (None: its first), or those of some methods and nominal classes.

    Raises ValueError for unknown ones.
    """
    entry = profile(profile_name, dataset)
    for method in methods or []:
        settings(profile_name, method, dataset)
    known = classes(profile_name, dataset)
    unknown = set(nominal or []) - set(known)
    if unknown:
        raise ValueError(f"unknown classes {sorted(unknown)} in profile {profile_name}; known: {', '.join(known)}")
    return [
        Run(entry["dataset"], normal, method, seed, profile_name)
        for method in methods or entry["methods"]
        for normal in nominal or known
        for seed in seeds(profile_name, method, dataset)
    ]


def seeds(profile_name: str, method: str, dataset: str | None = None) -> list[int]:
    """The seeds of a method: those that ``seeds_of`` has for it, else the data set's; the first where there is no
    chance in it."""
    entry = profile(profile_name, dataset)
    found = entry["seeds_of"].get(method, entry["seeds"])
    return found[:1] if method in WITHOUT_CHANCE else found


def ablation(profile_name: str, name: str, dataset: str | None = None) -> list[Run]:
    """The runs of an ablation of a profile: one method, and one setting that takes several values.

    Raises ValueError for an unknown name.
    """
    entry = profile(profile_name, dataset)
    if name not in entry["ablations"]:
        raise ValueError(
            f"unknown ablation {name!r} of {entry['dataset']} in profile {profile_name}; "
            f"known: {', '.join(entry['ablations']) or 'none'}"
        )
    study = {"seeds": entry["seeds"], "classes": classes(profile_name, dataset)} | entry["ablations"][name]
    return [
        Run(entry["dataset"], normal, study["method"], seed, profile_name, changes)
        for changes in variants(study)
        for normal in study["classes"]
        for seed in study["seeds"]
    ]


def variants(study: dict) -> list[tuple]:
    """The ``changes`` of an ablation's runs, one for each value that its setting takes."""
    fixed = tuple((key, _frozen(value)) for key, value in study.get("with", {}).items())
    return [(*fixed, (study["vary"], _frozen(value))) for value in study["values"]]


def run(profile_name: str, method: str, normal: str, seed: int = 0, exposure: str | None = None) -> Run:
    """One run of a profile's first data set by name, to train it in a chapter and to name it under a figure.

    Raises ValueError for unknown names, and for an ``exposure`` that the method would not be trained with.
    """
    settings(profile_name, method)
    if exposure is not None and "exposure" not in inspect.signature(estimator(method)).parameters:
        raise ValueError(f"{method} is trained without outliers, got exposure={exposure!r}; use method hsc or fcdd")
    changes = () if exposure is None else (("exposure", exposure),)
    return Run(data_sets(profile_name)[0], normal, method, int(seed), profile_name, changes)


def split(profile_name: str, normal: str, dataset: str | None = None, **shares):
    """The profile's images with ``normal`` nominal, cut to the sizes the profile names.

    ``shares``: labelled, pollution, known_classes and seed, as in :func:`fcdd.datasets.load`; defects and leak, as k
    and leak of :func:`fcdd_study.defects.with_defects`; size, in the place of the profile's.
    """
    from fcdd import datasets

    from .defects import with_defects

    entry = profile(profile_name, dataset)
    defects, leak = shares.pop("defects", 0), shares.pop("leak", False)
    options = {key: _frozen(value) for key, value in entry["options"].items()}
    options |= {"size": shares.pop("size")} if "size" in shares else {}
    whole = datasets.load(entry["dataset"], normal, **options, **shares)
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
    cut = replace(whole, train=train, test=test)
    if not defects:
        return cut
    return with_defects(cut, k=defects, seed=shares.get("seed", 0), leak=leak, share=0.5)  # the paper's share


def estimator(method: str):
    """What makes a method's detector, imported now: a class, or a function of fcdd_study.baselines."""
    return getattr(importlib.import_module(METHODS[method].module), METHODS[method].estimator)


@cache
def defaults(method: str) -> dict:
    """The defaults of a method's constructor."""
    parameters = inspect.signature(estimator(method)).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def detector(run: Run, device: str = "auto"):
    """The run's detector, not yet fitted. :data:`GAIN` is none of its parameters: see :func:`outliers`."""
    make = estimator(run.method)
    chance = {} if run.method in WITHOUT_CHANCE else {"seed": run.seed, "device": device}
    told = {key: value for key, value in run.settings.items() if key != GAIN}
    return make(**told, **{key: chance[key] for key in inspect.signature(make).parameters if key in chance})


def split_of(run: Run):
    """The run's images."""
    return split(run.profile, run.normal, run.dataset, **run.shares, seed=run.seed)


GROUP = 10  # runs that are handed to training at once: a kill loses those under way


def group_of(run: Run) -> tuple[Run, ...]:
    """The runs that a run is always trained among, in their order; itself alone if it is none of its profile's.

    The last digits of a result depend on the size of the stack and the place in it (:mod:`fcdd.many`). So both follow
    from the profile, and not from which of its runs happen to be asked for.
    """
    entry = profile(run.profile, run.dataset)
    names = [name for name, study in entry["ablations"].items() if run.changes and study["method"] == run.method]
    lists = [ablation(run.profile, name, run.dataset) for name in names]
    if not run.changes and run.method in entry["methods"]:
        lists = [runs(run.profile, [run.method], None, run.dataset)]
    for alike in ([each for each in listed if each.changes == run.changes] for listed in lists if run.stackable):
        if run in alike:
            start = alike.index(run) // GROUP * GROUP
            return tuple(alike[start : start + GROUP])
    return (run,)


def train(
    wanted: Sequence[Run], device: str = "auto", alone: bool = False, watched: Callable[[Run], dict] = lambda run: {}
) -> Iterator["Trained"]:
    """Trains runs of one group (:func:`group_of`), and those that they share a stack with, as many at once as can be.

    ``alone``: without others, for when one of them fails. ``watched``: what ``fit`` of a run that is trained alone is
    told besides, callbacks and a checkpoint. Yields each as soon as it is done.
    """
    stackable = wanted[0].stackable
    group = group_of(wanted[0]) if stackable and not alone else wanted
    if len(group) == 1 or not stackable:
        for run in group:
            began, (data, model, bank) = time.perf_counter(), _prepared(run, device)
            # Only labelled defects come with masks that say more than "nowhere".
            masks = {"masks": data.train.masks} if run.shares.get("defects") else {}
            model.fit(data.train.images, data.train.y, **masks, **watched(run))
            yield Trained(run, data, model, bank, time.perf_counter() - began, [run])
        return
    from fcdd.many import fit_in_stacks

    splits, models, banks = zip(*(_prepared(run, device) for run in group), strict=True)
    X, y = [data.train.images for data in splits], [data.train.y for data in splits]
    chosen = [k for k, run in enumerate(group) if run in wanted]
    began = time.perf_counter()
    for places in fit_in_stacks(models, X, y, wanted=chosen):
        seconds, stack = (time.perf_counter() - began) / len(places), [group[k] for k in places]
        yield from (Trained(group[k], splits[k], models[k], banks[k], seconds, stack) for k in places)
        began = time.perf_counter()


class Trained(NamedTuple):
    """A run, its images, its fitted detector, the outliers that it saw (None if there is no such set), the seconds of
    its training, and the runs of its stack."""

    run: Run
    data: object
    model: object
    outliers: object
    seconds: float
    stack: list[Run]


def _prepared(run: Run, device: str) -> tuple:
    """The run's images, its detector, not yet fitted, and the outliers that it is given, read once."""
    data, model = split_of(run), detector(run, device)
    bank = outliers(run, model, data.train.images.shape[1:])
    if bank is not None:
        model.set_params(exposure=bank, exposure_limit=None, exposure_without=None)
    return data, model, bank


def outliers(run: Run, model, shape):
    """The images that the run's detector, not yet fitted, draws outliers from for images of ``shape`` (C, H, W), or
    None: there are none, or they are made of nominal images or features."""
    from fcdd import auto, exposure

    source = getattr(model, "exposure", None)
    source = auto.resolve(model.get_params(deep=False), tuple(shape))["exposure"] if source == "auto" else source
    if source is None or source in (*exposure.PASTED, "feature-noise"):
        return None
    chosen = {"seed": run.seed, "limit": model.exposure_limit, "without": _frozen(model.exposure_without)}
    return _bank(source, shape[0], tuple(shape[1:]), run.settings.get(GAIN), **chosen)


@lru_cache(maxsize=4)  # runs of one group see the same, or one for each seed
def _bank(source, channels: int, size: tuple[int, int], gain: float | None, **chosen):
    from fcdd import exposure, honesty

    images = exposure.bank(source, channels, size, **chosen)
    return images if gain is None else honesty.amplified(images, gain)


def evaluate(model, data) -> tuple[dict[str, float], float]:
    """Measures of a detector on the test images, and the seconds that its scores and heatmaps took.

    AUROC of images; where the test images have masks also AUROC of pixels, AUPRO and the size of the smallest defect
    found, at network resolution, and AUROC of pixels at the resolution of the files, if that is another one.
    """
    from fcdd import datasets, metrics

    began, images = time.perf_counter(), data.test.images
    scores, maps = (-model.score_samples(images), None) if data.test.masks is None else model.scores_and_maps(images)
    seconds, measured = time.perf_counter() - began, {"auroc": metrics.auroc(data.test.anomalous, scores)}
    if maps is None:
        return measured, seconds
    masks = data.test.masks[:, 0].numpy()
    measured |= {"pixel_auroc": metrics.pixel_auroc(masks, maps), "aupro": metrics.aupro(masks, maps)}
    measured["smallest_found"] = metrics.smallest_found(masks, maps)
    originals = datasets.original_masks(data) if Path(data.source).is_dir() else []
    if any(mask.shape != maps.shape[1:] for mask in originals):
        large = metrics.at_original_resolution(maps, originals)
        measured["pixel_auroc_original"] = metrics.pixel_auroc(originals, large)
    return measured, seconds


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+." else "-" for c in name.lower())

"""Runs, their records and the engine: whole or not at all, current or run again, one failure does not stop the rest."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

import fcdd
from fcdd import datasets, exposure, training
from fcdd_study import engine, grid, hashes, protocol, records

ENTRIES = [(profile, dataset) for profile in protocol.PROFILES for dataset in protocol.data_sets(profile)]
RUN = protocol.Run("fashion-mnist-small", "Ankle boot", "fcdd", 0, "smoke")


@pytest.fixture(scope="module")
def record():
    return engine.execute(RUN, "cpu")


def changed(record, path, value):
    copy = json.loads(json.dumps(record))
    *parents, last = path.split(".")
    inner = copy
    for key in parents:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copy


# ---- the protocol ----


def test_runs_of_a_profile():
    for profile, dataset in ENTRIES:
        runs, entry = protocol.runs(profile, dataset=dataset), protocol.profile(profile, dataset)
        seeds = {method: entry["seeds"] for method in entry["methods"]} | entry["seeds_of"]
        each = [1 if method in ("svdd", "kde", "pca-ocsvm") else len(found) for method, found in seeds.items()]
        assert len(runs) == len(protocol.classes(profile, dataset)) * sum(each)
        assert len({run.id for run in runs}) == len(runs) and {run.profile for run in runs} == {profile}
        assert {run.dataset for run in runs} == {dataset}
    assert RUN.id == "smoke/fashion-mnist-small/fcdd/ankle-boot-seed0"
    some = protocol.runs("quick", ["hsc"], ["Bag", "Shirt"])
    assert {(run.method, run.normal) for run in some} == {("hsc", "Bag"), ("hsc", "Shirt")}


@pytest.mark.parametrize("call, text", [
    (lambda: protocol.profile("huge"), "unknown profile 'huge'; known: smoke, quick, full, paper"),
    (lambda: protocol.runs("huge"), "unknown profile 'huge'"),
    (lambda: protocol.runs("smoke", ["fcd"]), "unknown method 'fcd' in profile smoke; known: kde, isolation-forest"),
    (lambda: protocol.runs("smoke", None, ["Hat"]), r"unknown classes \['Hat'\] in profile smoke; known: T-shirt/top"),
    (lambda: protocol.profile("full", "mnists"), "unknown data set 'mnists' in profile full; known: fashion-mnist"),
    (lambda: protocol.settings("smoke", "pca"), "unknown method 'pca' in profile smoke"),
])  # fmt: skip
def test_unknown_names(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("profile, dataset", ENTRIES)
def test_every_profile_can_be_built(profile, dataset):
    """Settings name parameters that exist, networks and outliers that are known, classes of the data set."""
    entry = protocol.profile(profile, dataset)
    runs = [protocol.runs(profile, [method], dataset=dataset)[-1] for method in entry["methods"]]
    runs += [run for name in entry["ablations"] for run in protocol.ablation(profile, name, dataset)]
    for run in runs:
        assert set(run.settings) <= {protocol.GAIN, *inspect.signature(protocol.estimator(run.method)).parameters}
        detector = protocol.detector(run, "cpu")
        if hasattr(detector, "network"):
            assert detector.network in {"auto", *fcdd.networks.NETWORKS}
            exposure = detector.get_params().get("exposure")
            assert exposure in {"auto", "feature-noise", "photographs", "confetti", None, *datasets.names()}
        assert run.normal in protocol.classes(profile, dataset)
    assert set(protocol.classes(profile, dataset)) <= set(datasets.classes(dataset))


def test_an_ablation_changes_one_setting(monkeypatch):
    study = {"method": "fcdd", "vary": "exposure_limit", "values": [1, 8], "classes": ["Bag"], "with": {"epochs": 1}}
    monkeypatch.setitem(protocol.PROFILES["quick"]["fashion-mnist-small"], "ablations", {"outliers": study})
    runs = protocol.ablation("quick", "outliers")
    assert [run.id for run in runs] == [
        f"quick/fashion-mnist-small/fcdd+epochs-1+exposure-limit-{limit}/bag-seed{seed}"
        for limit in (1, 8)
        for seed in (0, 1)
    ]
    assert runs[0].settings == protocol.settings("quick", "fcdd") | {"epochs": 1, "exposure_limit": 1}
    assert runs[0].label == "fcdd+epochs=1+exposure_limit=1"
    with pytest.raises(ValueError, match="unknown ablation 'width' of fashion-mnist-small .*; known: outliers"):
        protocol.ablation("quick", "width")
    monkeypatch.setitem(protocol.PROFILES["full"]["cifar10"], "ablations", {})
    with pytest.raises(ValueError, match="unknown ablation 'width' of cifar10 in profile full; known: none"):
        protocol.ablation("full", "width", "cifar10")


def test_an_ablation_may_ask_for_another_split():
    run = protocol.Run(RUN.dataset, RUN.normal, "deep-sad", 0, "smoke", (("labelled", 0.2), ("epochs", 1)))
    assert run.shares == {"labelled": 0.2} and run.settings == protocol.settings("smoke", "deep-sad") | {"epochs": 1}


def test_split_is_cut_to_the_profile():
    data = protocol.split("smoke", "Ankle boot", labelled=0.05)
    nominal = ~data.train.anomalous
    assert nominal.sum() == 128 and (data.train.y[nominal] == 0).all()
    assert len(data.train) - 128 == 7 and (data.train.y[~nominal] == -1).all()  # 5 %
    assert {name: (data.test.names == name).sum() for name in set(data.test.names)} == dict.fromkeys(
        set(data.test.names), 20
    )
    assert len(data.test) == 200
    whole = protocol.split("quick", "Bag")
    assert len(whole.train) == 1000 and len(whole.test) == 2000


def test_an_exposure_of_its_own_makes_another_run(tmp_path):
    plain, other = (protocol.run("smoke", "fcdd", "Ankle boot", 1, exposure) for exposure in (None, "confetti"))
    assert plain.id != other.id and other.id == "smoke/fashion-mnist-small/fcdd+exposure-confetti/ankle-boot-seed1"
    assert other.settings == plain.settings | {"exposure": "confetti"}
    assert protocol.detector(other).exposure == "confetti"
    assert records.table(tmp_path).empty
    for run in (plain, other):
        records.write(engine.execute(run, "cpu"), tmp_path)
    assert list(records.table(tmp_path)["method"]) == ["fcdd", "fcdd+exposure=confetti"]
    with pytest.raises(ValueError, match="svdd is trained without outliers, got exposure='confetti'"):
        protocol.run("smoke", "svdd", "Ankle boot", 0, "confetti")


def test_shares_hold_after_cutting():
    data = protocol.split("smoke", "Ankle boot", labelled=0.1, pollution=0.2)
    y, anomalous = data.train.y.numpy(), data.train.anomalous
    assert (~anomalous).sum() == 128
    assert (anomalous & (y == 0)).sum() / (y == 0).sum() == pytest.approx(0.2, abs=0.01)
    assert (y < 0).mean() == pytest.approx(0.1, abs=0.01)


# ---- every method of the profile: its numbers, and the code that they come from ----


@contextmanager
def functions_called():
    """The files in which a function was called meanwhile."""
    files = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no body of a module or class
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)


def methods_of_smoke():
    """All classes of each method, on each data set."""
    for dataset in protocol.data_sets("smoke"):
        for method in protocol.profile("smoke", dataset)["methods"]:
            yield protocol.runs("smoke", [method], dataset=dataset)


@pytest.fixture(scope="module", params=methods_of_smoke(), ids=lambda runs: f"{runs[0].dataset}-{runs[0].method}")
def executed(request):
    """Runs, their records, what was evaluated for these, and the files of this project in which a function was called
    meanwhile: of no module that was imported then, and from no cache."""
    skipped = "__main__", "figures"  # a program, and files of which one draws when it is imported
    names = [name for name in sorted(hashes._imports().modules) if not set(name.split(".")) & set(skipped)]
    import_module("papermill")  # first, as it loads the engine that this project has for it
    modules = [import_module(name) for name in names]
    for value in [value for module in modules for value in vars(module).values()]:
        getattr(value, "cache_clear", int)()
    seen = []

    def evaluate(model, data, plain=protocol.evaluate):
        seen.append((model, data))
        return plain(model, data)

    with pytest.MonkeyPatch.context() as patch, functions_called() as called:
        patch.setattr(protocol, "evaluate", evaluate)
        made = list(engine.execute_all(request.param, "cpu"))
    files = {Path(file) for file in called}
    ours = [hashes.PROJECT / package for package in ("fcdd", "fcdd_study")]  # .venv lies in the project, too
    return request.param, made, seen, {file for file in files if any(map(file.is_relative_to, ours))}


def test_every_method_runs_and_leaves_a_record(executed, tmp_path):
    """Its AUROC is what scikit-learn computes from the scores."""
    for run, record, (model, data) in zip(*executed[:3], strict=True):
        found = records.read(records.write(record, tmp_path))
        scores = -model.score_samples(data.test.images)
        assert found["metrics"]["auroc"] == pytest.approx(roc_auc_score(data.test.anomalous, scores), abs=1e-6)
        assert records.is_current(run, tmp_path)


BESIDE_THE_RUN = {
    "fcdd_study/engine.py",  # asks the protocol to train and to evaluate, and writes down what comes back
    "fcdd_study/hashes.py",
    "fcdd_study/records.py",
    "fcdd_study/resume.py",  # when a training is interrupted, of which its epochs tell
    "fcdd/moved.py",  # is asked for modules by their old names, at every import of any package
}


def test_what_a_run_executes_is_in_its_hash(executed):
    runs, *_, called = executed
    called -= {hashes.PROJECT / name for name in BESIDE_THE_RUN}
    assert len(called) > 5
    for run in runs:
        assert called - set(hashes.files_of(run)) == set()


def test_code_behind_a_method():
    runs = [runs[0] for runs in methods_of_smoke()]
    names = {run.method: {file.name for file in hashes.files_of(run)} for run in runs if run.dataset == RUN.dataset}
    assert {"detectors.py", "objectives.py", "networks.py", "training.py", "augment.py", "metrics.py", "protocol.py",
            "idx.py", "exposure.py"} <= names["fcdd"]  # fmt: skip
    assert {"svdd.py", "metrics.py", "protocol.py"} <= names["svdd"] and "training.py" not in names["svdd"]
    for files in names.values():
        assert (
            not {"cli.py", "figures.py", "plots.py", "book.py", "files.py", "onnx.py", "defects.py", "textures.py"}
            & files
        )
    hashed = {run.method: hashes.of_run(run) for run in runs if run.dataset == RUN.dataset}
    assert hashed["fcdd"] == hashed["hsc"] != hashed["svdd"]


def test_every_data_set_has_the_module_that_reads_it():
    """Found in the texts, it is what the registry imports."""
    found = hashes.data_set_modules()
    assert found.keys() == datasets.REGISTRY.keys()
    assert all(import_module(found[name]).ENTRIES[name] is entry for name, entry in datasets.REGISTRY.items())


@pytest.fixture
def copied_code(tmp_path, monkeypatch):
    """A copy of the project's code that the hashes are taken of."""
    for package in ("fcdd", "fcdd_study"):
        shutil.copytree(hashes.PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    hashes._imports()  # who imports whom is asked of the code that is imported, whichever test comes first
    monkeypatch.setattr(hashes, "PROJECT", tmp_path)
    caches = hashes._files_behind, hashes._sha256_behind
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


SOME = {
    "deep-svdd": protocol.Run(RUN.dataset, "Bag", "deep-svdd", 0, "smoke"),
    "exposed": protocol.Run(RUN.dataset, "Bag", "fcdd", 0, "smoke", (("exposure", "cifar10"),)),
    "textures": protocol.Run("textures", "brick", "fcdd", 0, "smoke"),
    "fcdd-semi": protocol.Run("textures", "brick", "fcdd-semi", 0, "smoke"),
}


@pytest.mark.parametrize("file, stale", [
    ("fcdd_study/defects.py", {"fcdd-semi"}),
    ("fcdd_study/textures.py", {"textures", "fcdd-semi"}),
    ("fcdd/datasets/cifar.py", {"exposed"}),
    ("fcdd/datasets/idx.py", {"deep-svdd", "exposed"}),
    ("fcdd_study/imagenet.py", set()), ("fcdd/svdd.py", set()),
    ("fcdd_study/records.py", set()), ("fcdd_study/hashes.py", set()), ("fcdd_study/statistics.py", set()),
    *((file, set(SOME)) for file in ("fcdd/metrics.py", "fcdd/training.py", "fcdd_study/protocol.py")),
])  # fmt: skip
def test_a_changed_constant_makes_stale_what_depends_on_it(copied_code, file, stale):
    before = {name: hashes.of_run(run) for name, run in SOME.items()}
    with (copied_code / file).open("a") as text:
        text.write("CHANGED = 1\n")
    hashes._sha256_behind.cache_clear()
    assert {name for name, run in SOME.items() if hashes.of_run(run) != before[name]} == stale


def every_run():
    """A run of each method and ablation of each data set of each profile."""
    for profile in protocol.PROFILES:
        for part in grid.parts(profile):
            later = list(protocol.profile(profile, part.dataset)["ablations"])
            runs = part._replace(ablations=later).runs()
            yield from {(run.label, run.shares.get("defects")): run for run in runs}.values()


def reworded(text: str) -> str:
    """A module without its comments, in other lines, and with other docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for each in node.body if isinstance(getattr(node, "body", None), list) else []:
            if hashes._is_docstring(each):
                each.value.value = "Told in other words."
    return ast.unparse(tree) + "\n# and a comment\n"


def test_no_change_of_words_or_of_figures_makes_any_record_stale(copied_code):
    """Docstrings, comments and lines of all modules; and code in what chapters draw. Pages are behind no run at all."""
    runs = list(every_run())
    before = [hashes.of_run(run) for run in runs]
    assert len(runs) > 100
    for package in ("fcdd", "fcdd_study"):
        for file in (copied_code / package).rglob("*.py"):
            told = reworded(file.read_text(encoding="utf-8"))
            drawn = {"figures", "demos"} & set(file.relative_to(copied_code).parts)
            file.write_text(told + ("CHANGED = 1\n" if drawn else ""), encoding="utf-8")
    hashes._sha256_behind.cache_clear()
    assert [run.id for run, value in zip(runs, before, strict=True) if hashes.of_run(run) != value] == []
    behind = {file for run in runs for file in hashes.files_of(run)}
    assert {file.suffix for file in behind} <= {".py", ".yml"}
    assert not any({"figures", "demos", "book", "notebooks"} & set(file.parts[-3:-1]) for file in behind)


@pytest.mark.parametrize("first, second, same", [
    ('def f(x): "Doubles."; return 2 * x', 'def f(x): "Doubles."; return 3 * x', False),
    ('TEXT = """\n# 1\n"""', 'TEXT = """\n# 2\n"""', False),
    ("x = 1", "x = 1.0", False),
    ("x = 1  # one", "x = 1  # the first", True),
    ('"""A module."""\nx = 1', "x = 1", True),
    ('class A:\n    """Old."""\n    x = 1\n    """One."""', 'class A:\n    """New."""\n    x = 1', True),
    ("f(1, 2)", "f(\n    1,\n    2,\n)", True),
])  # fmt: skip
def test_what_of_a_file_is_hashed(tmp_path, first, second, same):
    files = [tmp_path / name for name in ("first.py", "second.py")]
    for file, text in zip(files, (first, second), strict=True):
        file.write_text(text)
    assert (hashes.sha256(files[:1]) == hashes.sha256(files[1:])) is same


def test_all_versions_of_python_hash_alike(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "@a.b\ndef f(x, *, y: int = None, **z) -> list[str]:\n    return [f'{x!r:>3} a', *z, ..., -1.5j, b'c']\n"
    )
    assert hashes.sha256([file]) == "d4a4e3a6e52070ea3a64df3837e5edf1a77966ae672b9b10d9ccbc451e52964c"


# ---- the images behind a run ----


def flipped(part, key):
    """A copy of a part of a split with the first of something negated."""
    values = getattr(part, key).clone() if torch.is_tensor(getattr(part, key)) else getattr(part, key).copy()
    values[:1] = ~values[:1] if key in ("anomalous", "masks") else 1 - values[:1]
    return replace(part, **{key: values})


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("key", ["images", "y", "anomalous", "masks"])
def test_data_hash_sees_every_part(part, key):
    data = protocol.split_of(SOME["fcdd-semi"])
    other = replace(data, **{part: flipped(getattr(data, part), key)})
    assert hashes.of_data(data) == hashes.of_data(protocol.split_of(SOME["fcdd-semi"])) != hashes.of_data(other)


def test_data_hash_sees_the_outliers_that_the_detector_was_trained_with(monkeypatch):
    """They are read once a run; a gain makes others of them, and confetti is no set."""
    banks, read = [], []
    keep = {"from_bank": lambda bank, plain=exposure.from_bank: (banks.append(bank), plain(bank))[1],
            "bank": lambda source, *size, plain=exposure.bank, **chosen: (
                read.append(source), plain(source, *size, **chosen))[1]}  # fmt: skip
    for name, function in keep.items():
        monkeypatch.setattr(exposure, name, function)
    protocol._bank.cache_clear()
    plain = protocol.run("smoke", "fcdd", "Ankle boot", 0, "photographs")
    others = (
        protocol.run("smoke", "fcdd", "Ankle boot", 1, "photographs"),
        replace(plain, changes=((protocol.GAIN, 2),)),
    )
    found = []
    for run in (plain, *others):
        trained = next(iter(protocol.train([run], "cpu", alone=True)))
        assert torch.equal(trained.outliers, banks[-1])
        found.append(hashes.of_data(trained.data, trained.outliers))
    assert [each for each in read if isinstance(each, str)] == 3 * ["photographs"]
    confetti = protocol.run("smoke", "fcdd", "Ankle boot", 0, "confetti")
    assert next(iter(protocol.train([confetti], "cpu", alone=True))).outliers is None
    assert len({*found, hashes.of_data(trained.data)}) == 4


def test_a_gain_is_in_the_hash_of_the_code():
    sharpened = replace(RUN, changes=((protocol.GAIN, 2.0),))
    files = {file.name for file in set(hashes.files_of(sharpened)) - set(hashes.files_of(RUN))}
    assert files == {"honesty.py"} and hashes.of_run(sharpened) != hashes.of_run(RUN)


# ---- records ----


def test_a_record_tells_everything(record):
    records.validate(record)
    assert record["run"]["id"] == RUN.id and record["settings"] == {"network": "fcdd_cnn28", "epochs": 2}
    assert 0 <= record["metrics"]["auroc"] <= 1 and len(record["history"]) == 2
    assert record["images"] == {"train": 128, "test": 200, "exposure": 10_000} and record["device"] == "cpu"
    bank = exposure.bank("photographs", 1, (28, 28), seed=RUN.seed)
    assert record["data"]["sha256"] == hashes.of_data(protocol.split_of(RUN), bank)
    assert record["arithmetic"]["threads"] == torch.get_num_threads()
    assert record["versions"].keys() == {"python", "torch", "numpy", "scipy", "scikit-learn"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["date"])


def test_the_same_run_gives_the_same_numbers(record):
    again = engine.execute(RUN, "cpu")
    for key in ("run", "settings", "metrics", "history", "images", "data", "code"):
        assert again[key] == record[key]


def test_write_and_read(record, tmp_path):
    path = records.write(record, tmp_path)
    assert path == records.path_of(RUN, tmp_path) == tmp_path / f"{RUN.id}.json"
    assert records.read(path) == record
    records.write(changed(record, "metrics.auroc", 0.25), tmp_path)
    assert records.read(path)["metrics"]["auroc"] == 0.25
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_records_can_be_read_by_others(record, tmp_path):
    assert records.write(record, tmp_path).stat().st_mode & 0o044 == 0o044 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("path, value", [
    ("metrics.auroc", 1.2), ("metrics.auroc", "0.9"), ("metrics.auroc", None), ("metrics.auroc", float("nan")),
    ("run.seed", 0.5), ("run.id", None), ("schema", 1), ("arithmetic", None), ("data.sha256", "abc"), ("history", None),
    ("history", ["0.1"]),
    ("extra", 1), ("images.train", 0), ("seconds.fit", -1.0), ("history", [float("nan")]),
])  # fmt: skip
def test_a_wrong_record_is_refused_and_nothing_written(record, tmp_path, path, value):
    with pytest.raises(ValueError, match=r"^data\b.* must|finite"):
        records.write(changed(record, path, value), tmp_path / "records")
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[]"])
def test_a_damaged_record_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="x.json is not a run record: .*; remove it and run again"):
        records.read(path)
    assert not records.is_current(RUN, tmp_path)


WRITER = """
import json, os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from fcdd_study import records
record, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
for kill in range(8):
    child = os.fork()
    if child == 0:
        for count in range(10**9):
            record["history"] = [float(count)] * 5000
            record["run"]["id"] = f"smoke/x/{count % 3}"
            records.write(record, folder)
    while len(list(folder.rglob("[!.]*.json"))) < 3:
        time.sleep(0.01)
    time.sleep(0.1 + 0.07 * kill)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def test_a_kill_leaves_whole_records_only(record, tmp_path):
    """A process that writes records without end is killed, eight times at different moments."""
    (tmp_path / "record.json").write_text(json.dumps(record))
    folder = tmp_path / "records"
    subprocess.run([sys.executable, "-c", WRITER, tmp_path / "record.json", folder], check=True)
    found = [records.read(path) for path in folder.rglob("[!.]*.json")]
    assert len(found) == 3
    for each in found:
        assert len(each["history"]) == 5000 and len(set(each["history"])) == 1
    (folder / "smoke/x/.3-host-1-0.part.json").write_text('{"half":')
    assert len(records.table(folder)) == 3  # what a kill leaves half-written is not taken for a record


def test_current_records(record, tmp_path, monkeypatch):
    assert not records.is_current(RUN, tmp_path)
    records.write(record, tmp_path)
    assert records.is_current(RUN, tmp_path)
    assert not records.is_current(protocol.Run(RUN.dataset, RUN.normal, RUN.method, 1, RUN.profile), tmp_path)
    for path, value in (("code.sha256", "0" * 64), ("settings.epochs", 3), ("settings", {})):
        records.write(changed(record, path, value), tmp_path)
        assert not records.is_current(RUN, tmp_path)
    records.write(record, tmp_path)
    monkeypatch.setattr(hashes, "of_run", lambda run: "1" * 64)
    assert not records.is_current(RUN, tmp_path)


@pytest.mark.parametrize("key, value", [("train", 64), ("test", 10)])
def test_a_record_of_other_images_is_not_current(record, tmp_path, monkeypatch, key, value):
    records.write(record, tmp_path)
    monkeypatch.setitem(protocol.PROFILES["smoke"][RUN.dataset], key, value)
    assert not records.is_current(RUN, tmp_path)


def test_settings_with_lists_stay_current(record, tmp_path, monkeypatch):
    settings = RUN.settings | {"epochs": 2, "milestones": [1, 2]}
    monkeypatch.setitem(protocol.PROFILES["smoke"][RUN.dataset]["methods"], "fcdd", settings)
    assert protocol.settings("smoke", "fcdd")["milestones"] == (1, 2)
    records.write(changed(record, "settings", settings), tmp_path)
    assert records.is_current(RUN, tmp_path)


def test_table(record, tmp_path):
    assert records.table(tmp_path).empty and "auroc" in records.table(tmp_path / "nowhere")
    for k, profile in enumerate(("smoke", "quick", "quick")):
        copy = changed(record, "run.id", f"{profile}/a/b/{k}")
        records.write(changed(changed(copy, "metrics.auroc", k / 4), "run.profile", profile), tmp_path)
    assert records.table(tmp_path).set_index("id")["auroc"].to_dict() == {
        "smoke/a/b/0": 0,
        "quick/a/b/1": 0.25,
        "quick/a/b/2": 0.5,
    }
    assert len(records.table(tmp_path, "quick")) == 2
    row = records.table(tmp_path, "smoke").iloc[0]
    assert row["method"] == "fcdd" and row["normal"] == "Ankle boot" and row["code"] == record["code"]["sha256"][:12]


def test_half_written_files_are_not_in_the_table(record, tmp_path):
    path = records.write(record, tmp_path)
    (path.parent / ".abc.part").write_text('{"schema":')
    assert len(records.table(tmp_path)) == 1


@pytest.mark.parametrize("form, lacks", [(2, ["arithmetic"]), (3, ["arithmetic.threads", "images.exposure"])])
def test_a_record_of_a_form_before_can_be_read_and_is_stale(record, tmp_path, form, lacks):
    old = changed(record, "schema", form)
    for path in lacks:
        old = changed(old, path, None)
    path = records.write(old, tmp_path)
    assert records.read(path) == old and records.stale(old) == ["schema"] and not records.is_current(RUN, tmp_path)
    assert records.table(tmp_path)["threads"].tolist() == [1]


@pytest.mark.parametrize("half, name", [(True, "bfloat16 autocast"), (False, "float32")])
def test_the_record_says_in_which_arithmetic_the_network_was_trained(monkeypatch, half, name):
    def mixed_precision(device):
        return torch.autocast(device.type, torch.bfloat16, enabled=half)

    monkeypatch.setattr(training, "mixed_precision", mixed_precision)
    made = [engine.execute(protocol.run("smoke", method, "Ankle boot"), "cpu") for method in ("deep-svdd", "kde")]
    assert [each["arithmetic"]["training"] for each in made] == [name, "no network"]
    assert {each["arithmetic"]["cpu"] for each in made} == {torch.backends.cpu.get_cpu_capability()}


def test_committed_records_are_whole():
    for path in records.COMMITTED.rglob("*.json"):
        found = records.read(path)
        assert found["run"]["id"] == str(path.relative_to(records.COMMITTED).with_suffix(""))
        assert not found["data"]["source"].startswith("/")
        assert records.stale(found) or found["schema"] == records.SCHEMA_VERSION


# ---- the engine ----


def test_a_run_is_always_trained_among_the_same(monkeypatch):
    """A part of a profile gives the bits of the whole: its stack is trained whole, and the record names it."""
    entry = protocol.profile("smoke")
    monkeypatch.setitem(protocol.PROFILES["smoke"], RUN.dataset, entry | {"seeds": [0, 1]})
    runs = protocol.runs("smoke", ["hsc"])
    assert len(runs) == 4 and {protocol.group_of(run) for run in runs} == {tuple(runs)}
    whole = {record["run"]["id"]: record for record in engine.execute_all(runs, "cpu")}
    part = {record["run"]["id"]: record for record in engine.execute_all(runs[2:3], "cpu")}
    assert set(part) == set(whole) and part[runs[2].id]["stack"] == [run.id for run in runs]
    for key in ("metrics", "history", "stack"):
        assert part[runs[2].id][key] == whole[runs[2].id][key]


def test_groups_follow_from_the_profile_alone():
    runs = protocol.runs("quick", ["fcdd"])
    assert len(runs) == 20 and [protocol.group_of(run) for run in runs] == 10 * [tuple(runs[:10])] + 10 * [
        tuple(runs[10:])
    ]
    assert [len(group) for group in engine.groups([runs[3], runs[12], runs[4]])] == [2, 1]
    one_of_a_kind = replace(runs[0], changes=(("exposure", "confetti"),))
    assert protocol.group_of(one_of_a_kind) == (one_of_a_kind,)
    varied = protocol.ablation("smoke", "exposure-images")
    assert {protocol.group_of(run) for run in varied} == {tuple(varied[:2]), tuple(varied[2:])}


def test_engine_runs_what_is_missing_and_keeps_the_rest(record, tmp_path, monkeypatch):
    runs = protocol.runs("smoke", ["svdd", "fcdd"])
    records.write(record, tmp_path)
    executed = []
    monkeypatch.setattr(engine, "execute_all", lambda runs, device, plain=engine.execute_all: (
        executed.extend(runs), plain(runs, device))[1])  # fmt: skip
    table = engine.run_all(runs, "cpu", tmp_path)
    assert sorted(table["id"]) == sorted(run.id for run in runs)
    assert len(executed) == len(runs) - 1 and RUN not in executed
    engine.run_all(runs, "cpu", tmp_path)
    assert len(executed) == len(runs) - 1


def test_engine_goes_on_after_a_failure_and_reports_it(record, tmp_path, monkeypatch):
    runs = [protocol.Run(RUN.dataset, RUN.normal, RUN.method, seed, RUN.profile) for seed in range(4)]

    def execute_all(runs, device, alone=False):
        if unlucky := [run.seed for run in runs if run.seed in (0, 2)]:
            raise ValueError(f"no luck with {unlucky[0]}")
        return [changed(changed(record, "run.id", run.id), "run.seed", run.seed) for run in runs]

    monkeypatch.setattr(engine, "execute_all", execute_all)
    with pytest.raises(RuntimeError) as error:
        engine.run_all(runs, "cpu", tmp_path)
    assert str(error.value).splitlines() == [
        "2 of 4 runs failed:",
        f"- {runs[0].id}: ValueError: no luck with 0",
        f"- {runs[2].id}: ValueError: no luck with 2",
    ]
    assert [records.is_current(run, tmp_path) for run in runs] == [False, True, False, True]
    monkeypatch.setattr(engine, "execute_all", lambda runs, device: [
        changed(changed(record, "run.id", run.id), "run.seed", run.seed) for run in runs])  # fmt: skip
    assert len(engine.run_all(runs, "cpu", tmp_path)) == 4


def test_engine_returns_only_what_was_asked_for(record, tmp_path):
    records.write(record, tmp_path)
    records.write(changed(record, "run.id", "smoke/other/fcdd/x-seed0"), tmp_path)
    assert engine.run_all([RUN], "cpu", tmp_path)["id"].tolist() == [RUN.id]


def test_every_method_runs_in_smoke(tmp_path):
    table = engine.run_all(protocol.runs("smoke", nominal=["Ankle boot"]), "cpu", tmp_path)
    assert set(table["method"]) == set(protocol.profile("smoke")["methods"]) and table["auroc"].between(0, 1).all()

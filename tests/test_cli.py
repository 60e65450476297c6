"""The command line: what it prints, what it writes, and errors without tracebacks."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from torchvision.models import squeezenet1_0
from typer.testing import CliRunner

import fcdd
import fcdd_study.cli
import fcdd_study.engine
from fcdd import cli, datasets, objectives
from fcdd.datasets import fetch
from fcdd_study import protocol, records


@pytest.fixture(scope="module")
def run():
    """Calls a command in this process; returns what it prints on lines 220 characters wide."""

    def call(*arguments, code=0):
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcdd_study.cli, "console", Console(width=220))
        yield call


@pytest.fixture(scope="module")
def boots_folder(tmp_path_factory):
    """Boots to learn from, and boots and trousers to judge, as PNG files."""
    folder = tmp_path_factory.mktemp("images")
    split = datasets.load("fashion-mnist-small", "Ankle boot")
    other = split.test.images[split.test.names == "Trouser"]
    boots = split.test.images[~split.test.anomalous]
    for name, images in (("good", split.train.images[:60]), ("new", np.concatenate([boots[:5], other[:5]]))):
        (folder / name).mkdir()
        for k, image in enumerate(images):
            Image.fromarray(np.asarray(image)[0]).save(folder / name / f"{k:03}.png")
    return folder


@pytest.fixture(scope="module")
def model(run, boots_folder):
    path = boots_folder / "model.safetensors"
    output = run("fit", boots_folder / "good", "--model", path, "--size", 28, "--network", "fcdd_cnn28", "--epochs", 60,
                 "--exposure", "photographs", "--device", "cpu", "--fpr", 0.1)  # fmt: skip
    assert f"{path}: 60 images; threshold" in output and "from 12 good images held out" in output
    return path


def test_without_a_command_the_help_is_shown():
    output = CliRunner().invoke(cli.app, []).output
    assert all(name in output for name in ("fit", "score", "data", "study"))


def test_fit_writes_a_model(model):
    detector = fcdd.FCDD.load(model)
    assert detector.image_shape_ == (3, 28, 28) and detector.epochs == 60 and detector.seed == 0


def test_score(run, model, boots_folder, tmp_path):
    output = run("score", boots_folder / "new", "--model", model, "--heatmaps", tmp_path / "maps")
    for k in range(10):
        assert f"{k:03}.png" in output
    assert "10 heatmaps in" in output and len(list((tmp_path / "maps").glob("*.png"))) == 10
    lines = [line for line in output.splitlines() if ".png" in line and "heatmaps" not in line]
    assert sum("anomalous" in line for line in lines[5:]) >= 4  # trousers
    assert sum("nominal" in line for line in lines[:5]) >= 3  # boots


def test_scores_are_those_of_the_library(run, model, boots_folder):
    output = run("score", boots_folder / "new", "--model", model)
    X = datasets.image_folder(boots_folder / "new", (28, 28))
    for value in fcdd.FCDD.load(model).anomaly_score(X):
        assert f"{value:.4g}" in output


def test_damaged_images_cost_no_other_image_its_result(run, model, boots_folder, tmp_path):
    new = tmp_path / "new"
    shutil.copytree(boots_folder / "new", new)
    whole = run("score", new, "--model", model).splitlines()
    picture = (new / "004.png").read_bytes()
    (new / "004.png").write_bytes(picture[: len(picture) // 2])
    (new / "007.png").write_text("no picture")
    (new / "009.png").write_bytes(b"")
    result = CliRunner().invoke(cli.app, ["score", str(new), "--model", str(model), "--heatmaps", str(tmp_path / "m")])
    assert result.exit_code == 1 and "7 heatmaps in" in result.output
    assert result.output.splitlines()[:7] == [line for k, line in enumerate(whole) if k not in (4, 7, 9)]
    assert sorted(file.stem for file in (tmp_path / "m").iterdir()) == [f"{k:03}" for k in (0, 1, 2, 3, 5, 6, 8)]
    told = str(result.exception)
    assert told.startswith("3 of 10 images could not be judged:\n") and told.count("cannot be read") == 3
    assert all(str(new / f"{k:03}.png") in told for k in (4, 7, 9))


def test_a_folder_of_nothing_but_damage(run, model, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="1 of 1 images could not be judged"):
        run("score", tmp_path, "--model", model, "--heatmaps", tmp_path / "maps")


def test_score_wants_a_detector_of_images(run, boots_folder, tmp_path):
    fcdd.SVDD().fit(np.random.default_rng(0).random((20, 3))).save(tmp_path / "svdd.safetensors")
    with pytest.raises(ValueError, match=r"fitted on images by a network, .*svdd.safetensors holds SVDD"):
        run("score", boots_folder / "new", "--model", tmp_path / "svdd.safetensors")


def test_heatmaps_of_pictures_with_the_same_name(run, model, boots_folder, tmp_path):
    for folder, source in (("a", "000.png"), ("b", "007.png")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "1.png").write_bytes((boots_folder / "new" / source).read_bytes())
    (tmp_path / "in" / "a" / "1.jpg").write_bytes((boots_folder / "new" / "003.png").read_bytes())
    run("score", tmp_path / "in", "--model", model, "--heatmaps", tmp_path / "maps")
    written = {str(file.relative_to(tmp_path / "maps")) for file in (tmp_path / "maps").rglob("*.png")}
    assert written == {"a/1.jpg.png", "a/1.png.png", "b/1.png"}


def test_names_in_brackets_are_shown(run, model, boots_folder, tmp_path):
    (tmp_path / "part[red].png").write_bytes((boots_folder / "new" / "000.png").read_bytes())
    assert "part[red].png" in run("score", tmp_path, "--model", model)


def test_fit_takes_the_layout_of_mvtec(run, boots_folder, tmp_path):
    good = tmp_path / "screw" / "train" / "good"
    good.mkdir(parents=True)
    for file in sorted((boots_folder / "good").iterdir())[:20]:
        (good / file.name).write_bytes(file.read_bytes())
    (tmp_path / "screw" / "test" / "bent").mkdir(parents=True)
    (tmp_path / "screw" / "test" / "bent" / "0.png").write_bytes(b"not to be read")
    options = ("--size", 28, "--network", "fcdd_cnn28", "--epochs", 1)
    output = run("fit", tmp_path / "screw", "--model", tmp_path / "m.safetensors", *options)
    assert "20 images; threshold" in output and "one of 4 models" in output


def test_fit_on_pretrained_features(run, boots_folder, tmp_path):
    weights, model = tmp_path / "squeezenet.pth", tmp_path / "m.safetensors"
    torch.save(squeezenet1_0().state_dict(), weights)
    options = ("--size", 64, "--network", "fcdd_squeezenet", "--weights", weights, "--epochs", 1)
    assert "good images" in run("fit", boots_folder / "good", "--model", model, *options)
    weights.unlink()  # the model needs them no more
    detector = fcdd.FCDD.load(model)
    assert detector.objective == "pixels" and detector.augmentation == "parts"
    assert detector.normalisation_.shift.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_data_lists_what_is_there(run, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path)
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path)
    monkeypatch.delenv("FCDD_DATA", raising=False)
    output = run("data")
    rows = {line.split()[1]: line for line in output.splitlines() if "│" in line}
    assert set(datasets.names()) <= rows.keys()
    assert "the package itself" in rows["fashion-mnist-small"] and "not found" in rows["mnist"]
    assert "10" in rows["cifar10"] and "as found" in rows["omniglot"]  # its classes are not known without it
    assert "the package itself" in run("data", "list", "fashion-mnist-small")


def test_data_is_listed_without_being_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path)
    monkeypatch.delenv("FCDD_DATA", raising=False)
    for file in ("imagenet_sample_256.tar", "cifar10_sheets.tar"):
        (tmp_path / file).write_text("not to be opened")
    output = run("data")
    assert str(tmp_path / "imagenet_sample_256.tar") in output
    assert f"{tmp_path / 'cifar10_sheets.tar'} (the official images as lossless sheets)" in output
    with pytest.raises(FileNotFoundError, match="voc was not found.*fcdd data fetch voc"):
        run("data", "list", "voc")


def test_data_says_that_a_folder_of_fcdd_data_is_missing(run, monkeypatch):
    monkeypatch.setenv("FCDD_DATA", "/no/such/place")
    with pytest.raises(FileNotFoundError, match="/no/such/place"):
        run("data")


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """The folder of fresh records of SVDD in profile smoke, made by the command, with what it printed and its table."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcdd_study.engine.run_all", lambda runs, device, plain=fcdd_study.engine.run_all: plain(
            runs, device, folder / "fresh"))  # fmt: skip
        options = ("--profile", "smoke", "--dataset", "fashion-mnist-small", "--method", "svdd")
        output = run("study", "run", *options, "--table", folder / "out" / "svdd.csv")
    return folder / "fresh", output, (folder / "out" / "svdd.csv").read_text()


@pytest.fixture
def kept(made, monkeypatch, tmp_path):
    """Fresh and committed records, one folder each, alike at first, in the place of this project's."""
    folders = {}
    for name in ("FRESH", "COMMITTED"):
        folders[name] = tmp_path / name.lower()
        shutil.copytree(made[0], folders[name])
        for module in (records, fcdd_study):
            monkeypatch.setattr(module, name, folders[name])
    return folders["FRESH"], folders["COMMITTED"]


SVDD_RUNS = [each.id for each in protocol.runs("smoke", ["svdd"])]


def rewrite(path, change):
    record = records.read(path)
    change(record)
    records.write(record, path.parents[3])


def test_study_run(made):
    _, output, table = made
    assert output.startswith("smoke fashion-mnist-small svdd: mean AUROC 0.") and "over 2 runs" in output
    assert table.count("\n") == 3 and all(name in table for name in SVDD_RUNS)


def test_study_list(run, kept):
    for which in ((), ("--committed",), ("--profile", "smoke", "--dataset", "fashion-mnist-small")):
        lines = run("study", "list", *which).splitlines()
        assert len(lines) == 2
        assert all(line.startswith(f"{name}  AUROC 0.") for line, name in zip(lines, sorted(SVDD_RUNS), strict=True))
    text = "no fresh records of quick yet; make some with: fcdd study run --profile quick"
    assert text in run("study", "list", "--profile", "quick")


def test_study_list_says_why_records_are_stale(run, kept):
    rewrite(kept[0] / f"{SVDD_RUNS[0]}.json", lambda record: record["code"].update(sha256="0" * 64))
    rewrite(kept[0] / f"{SVDD_RUNS[1]}.json", lambda record: record["settings"].update(nu=0.2))
    lines = run("study", "list").splitlines()
    stale = {line.split()[0]: line.partition("  stale: ")[2] for line in lines[:2]}
    assert stale == {SVDD_RUNS[0]: "code", SVDD_RUNS[1]: "settings"}
    assert lines[2] == "2 of 2 are stale; fcdd study run runs them again"
    assert "stale" not in run("study", "list", "--committed")


def test_study_list_says_that_a_record_has_an_older_form(run, kept):
    rewrite(kept[1] / f"{SVDD_RUNS[0]}.json", lambda record: (record.update(schema=2), record.pop("arithmetic")))
    lines = run("study", "list", "--committed").splitlines()
    assert [line.partition("  stale: ")[2] for line in lines if line.startswith(SVDD_RUNS[0])] == ["schema"]
    assert lines[2].startswith("1 of 2 are stale")


@pytest.mark.parametrize("content", [b"", b'{"schema": 2', b"\xff\xfe\x00", b"[]"])
def test_study_list_names_damaged_records_and_shows_the_others(kept, monkeypatch, capsys, content):
    (kept[0] / f"{SVDD_RUNS[0]}.json").write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["fcdd", "study", "list"])
    monkeypatch.setattr(fcdd_study.cli, "console", Console(width=220))
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    assert end.value.code == 1
    assert printed.out.startswith(f"{SVDD_RUNS[1]}  AUROC 0.") and printed.out.count("\n") == 1
    first, second = printed.err.splitlines()
    assert first == "error: 1 damaged:"
    assert f"{SVDD_RUNS[0]}.json is not a run record: " in second and "; remove it and run again" in second


def test_study_verdicts_prints_both_answers_and_both_counts(run, kept, monkeypatch, tmp_path):
    cell = {"dataset": "fashion-mnist-small", "method": "svdd", "source": "s", "citation": "c", "confidence": "S1",
            "digits": 2, "protocol": {"data": "official", "seeds": 5}}  # fmt: skip
    normal = protocol.runs("smoke", ["svdd"])[0].normal
    published = tmp_path / "published.yml"
    published.write_text(
        yaml.safe_dump([cell | {"auroc": {normal: 0.99, "Bag": 0.9}}], sort_keys=False), encoding="utf-8"
    )
    monkeypatch.setattr("fcdd_study.verdicts.PUBLISHED", published)
    for path in sorted(kept[1].rglob("*.json")):
        rewrite(path, lambda record: record["metrics"].update(auroc=0.5))
    output = run("study", "verdicts", "--profile", "smoke", "--csv", tmp_path / "out" / "cells.csv")
    lines = [line for line in output.splitlines() if normal in line]
    assert len(lines) == 1 and "0.990" in lines[0] and "undecided" in lines[0] and "data, seeds" in lines[0]
    counted = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in output.splitlines() if "│" in line}
    assert [int(n) for n in counted["undecided"]] == [1, 0, 1, 0, 0, 0, 0, 1, 1]
    assert int(counted["all"][0]) == int(counted["not run"][0]) + 1 == 2
    table = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert list(table["verdict"]) == ["undecided", "not run"] and table.loc[0, "ours"] == 0.5
    with pytest.raises(ValueError, match="nothing published on moon; there is for fashion-mnist-small"):
        run("study", "verdicts", "--dataset", "moon")


def test_study_show(run, kept):
    first = SVDD_RUNS[0]
    assert '"auroc"' in run("study", "show", first) and "stale" not in run("study", "show", first)
    rewrite(kept[0] / f"{first}.json", lambda record: record["metrics"].update(auroc=0.9173546))
    assert "0.9173546" in run("study", "show", first) and "0.9173546" not in run("study", "show", first, "--committed")
    rewrite(kept[0] / f"{first}.json", lambda record: record["selection"].update(train=7))
    assert run("study", "show", first).endswith("stale: selection\n")
    (kept[0] / f"{first}.json").unlink()
    assert '"auroc"' in run("study", "show", first)  # the committed one
    with pytest.raises(FileNotFoundError, match="no record 'smoke/none'; fcdd study list names them"):
        run("study", "show", "smoke/none")
    (kept[0] / f"{first}.json").write_text("{")
    with pytest.raises(ValueError, match="is not a run record: .*; remove it and run again"):
        run("study", "show", first)


def test_study_diff(run, kept):
    for name, value in zip(SVDD_RUNS, (0.5, 0.25), strict=True):
        rewrite(kept[0] / f"{name}.json", lambda record, value=value: record["metrics"].update(auroc=value))
        rewrite(kept[1] / f"{name}.json", lambda record: record["metrics"].update(auroc=0.75))
    rewrite(kept[1] / f"{SVDD_RUNS[0]}.json", lambda record: record["settings"].update(nu=0.2))
    output = run("study", "diff", "smoke")
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in output.splitlines() if "│" in line]
    assert [row[1:] for row in rows] == [
        ["svdd", "T-shirt/top", "0.500", "0.750", "-0.250"],
        ["svdd", "Ankle boot", "0.250", "0.750", "-0.500"],
        ["svdd", "mean", "0.375", "0.750", "-0.375"],
    ] or [row[1:] for row in rows] == [
        ["svdd", "Ankle boot", "0.250", "0.750", "-0.500"],
        ["svdd", "T-shirt/top", "0.500", "0.750", "-0.250"],
        ["svdd", "mean", "0.375", "0.750", "-0.375"],
    ]
    assert {row[0] for row in rows} == {"fashion-mnist-small"}
    assert "smoke, fresh" in output and "smoke, committed" in output
    assert output.splitlines()[-1] == "smoke, committed: 1 of 2 records are stale; fcdd study list says why"
    with pytest.raises(ValueError, match="expected two profiles to compare, got smoke twice"):
        run("study", "diff", "smoke", "smoke")


def test_study_diff_of_what_is_not_there_or_not_shared(run, kept):
    with pytest.raises(ValueError, match="no records to compare: quick, fresh; see fcdd study list"):
        run("study", "diff", "quick")
    with pytest.raises(ValueError, match="no records to compare: quick, fresh; see fcdd study list"):
        run("study", "diff", "smoke", "quick")
    for path in list(kept[1].rglob("*.json")):
        rewrite(path, lambda record: record["run"].update(method="hsc"))
    name = "fashion-mnist-small"
    text = f"nothing in common to compare: smoke, fresh: {name} svdd; smoke, committed: {name} hsc"
    with pytest.raises(ValueError, match=text):
        run("study", "diff", "smoke")


def test_wrong_usage(run):
    for arguments in (("fit", ".", "--colour", "red"), ("score",), ("paint",)):
        run(*arguments, code=2)


# ---- errors ----


@pytest.fixture
def refused(monkeypatch, capsys):
    """Calls the whole program, as the shell does, with arguments it must refuse; returns its one line of complaint."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fcdd", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert end.value.code == 1 and printed.out == "" and printed.err.count("\n") == 1
        assert printed.err.startswith("error: ") and printed.err.endswith(" (--debug shows the traceback)\n")
        return printed.err

    return call


@pytest.mark.parametrize("arguments, text", [
    (("fit", "no/such/folder"), "no such file or folder: no/such/folder"),
    (("score", ".", "--model", "no.safetensors"), "no model at no.safetensors; expected a file written by save()"),
    (("score", "fcdd", "--model", __file__), "is not a safetensors file or is cut short"),
    (("data", "list", "imagenette"), "unknown data set 'imagenette'; known:"),
    (("study", "run", "--profile", "huge"), "unknown profile 'huge'; known: smoke, quick, full, paper"),
    (("study", "run", "--profile", "smoke", "--method", "pca"), "unknown method 'pca' in profile smoke"),
    (("study", "show", "smoke/none"), "no record 'smoke/none'; fcdd study list names them"),
    (("study", "chapter", "a.ipynb", "b.ipynb", "-p", "seed"), "name=value"),
])  # fmt: skip
def test_errors_are_one_line_without_a_traceback(refused, arguments, text):
    assert text in refused(*arguments)


@pytest.fixture
def ended(monkeypatch, capsys):
    """Calls the whole program with something in its inside replaced; returns its exit code and what it complained."""

    def call(inside, *arguments):
        monkeypatch.setattr(datasets, "places", inside)
        monkeypatch.setattr(sys, "argv", ["fcdd", "data", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("bug, last_line", [
    (lambda: torch.zeros(2) @ torch.zeros(3), "RuntimeError: inconsistent tensor size"),
    (lambda: np.zeros(2) + np.zeros(3), "ValueError: operands could not be broadcast together"),
    (lambda: objectives.deep_svdd(torch.zeros(2, 3), torch.zeros(4)), "RuntimeError: The size of tensor"),
    (lambda: int("x"), "ValueError: invalid literal for int()"),
])  # fmt: skip
def test_a_bug_is_called_a_bug(ended, bug, last_line):
    """Also where it comes out of a library as the kind of error that fcdd raises about its input."""
    code, told = ended(bug)
    assert code == 3 and told.count("\n") == 1 and "Traceback" not in told
    assert told.startswith(f"this is a bug in fcdd, not in your input; please report it: {last_line}")
    assert told.endswith(" (--debug shows the traceback)\n")


@pytest.mark.parametrize("bug", [lambda: None + 1, lambda: {}["a"], lambda: None.images])
def test_so_is_what_nobody_raises_about_an_input(ended, bug):
    code, told = ended(bug)
    assert code == 3 and told.startswith("this is a bug in fcdd") and told.count("\n") == 1


def test_memory_that_runs_out_is_no_bug(ended):
    def full():
        raise torch.OutOfMemoryError("no 8 GB left")

    assert ended(full) == (1, "error: no 8 GB left (--debug shows the traceback)\n")


@pytest.mark.parametrize("asked, environment", [(("--debug",), None), ((), "1"), ((), "0"), ((), "")])
def test_debug_shows_the_traceback(ended, monkeypatch, asked, environment):
    if environment is not None:
        monkeypatch.setenv("FCDD_DEBUG", environment)
    code, told = ended(lambda: None + 1, *asked)
    shown = bool(asked) or environment == "1"
    assert code == 3 and ("Traceback (most recent call last)" in told and "<lambda>" in told) == shown
    assert told.endswith("(--debug shows the traceback)\n") != shown


def test_a_package_that_is_not_installed_is_named_with_the_extra_that_brings_it():
    """The study is listed all the same, and what needs no such package works."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastjsonschema', 'grimp', 'pandas', 'papermill']));"
        "from fcdd.cli import main; main()"
    )
    listed, refused, data = (
        subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        for arguments in ([], ["study", "list"], ["data", "list", "fashion-mnist-small"])
    )
    assert "study" in listed.stdout and "the package itself" in data.stdout and data.returncode == 0
    name, _, rest = refused.stderr.removeprefix("error: ").partition(" ")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and name in ("fastjsonschema", "grimp", "pandas")
    assert rest.startswith("is not installed; the study and the book need: pip install 'fcdd-book[book]'")


def test_a_model_folder_that_does_not_exist_is_made(run, boots_folder, tmp_path):
    model = tmp_path / "no" / "m.safetensors"
    run("fit", boots_folder / "good", "--model", model, "--size", 28, "--network", "fcdd_cnn28", "--epochs", 1)
    assert model.exists()


# ---- as a process ----


def test_as_a_process():
    """``python -m fcdd``, and its start-up does without PyTorch."""
    code = (
        "import runpy, sys; sys.argv = ['fcdd', 'study', 'show', 'none']; runpy.run_module('fcdd', run_name='__main__')"
    )
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "False\n")
    assert result.stderr == "error: no record 'none'; fcdd study list names them (--debug shows the traceback)\n"
    helped = subprocess.run([sys.executable, "-m", "fcdd", "--help"], capture_output=True, text=True, check=True)
    assert "Deep one-class classification, from SVDD to FCDD" in helped.stdout

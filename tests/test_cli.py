"""The command line: what it prints, what it writes, and errors without tracebacks."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torchvision.models import squeezenet1_0
from typer.testing import CliRunner

import fcdd
import fcdd.study.engine
from fcdd import cli, datasets
from fcdd.datasets import fetch
from fcdd.study import protocol, records


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
        patch.setattr(cli, "console", Console(width=220))
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
    output = run("fit", boots_folder / "good", "--model", path, "--size", 28, "--network", "fcdd_cnn28", "--epochs", 10,
                 "--exposure", "photographs", "--device", "cpu")  # fmt: skip
    assert f"{path}: learnt from 60 images; threshold: anomaly score" in output
    return path


def test_without_a_command_the_help_is_shown():
    output = CliRunner().invoke(cli.app, []).output
    assert all(name in output for name in ("fit", "score", "data", "study"))


def test_fit_writes_a_model(model):
    detector = fcdd.FCDD.load(model)
    assert detector.image_shape_ == (3, 28, 28) and detector.epochs == 10 and detector.seed == 0


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


def test_heatmaps_of_pictures_with_the_same_name(run, model, boots_folder, tmp_path):
    for folder, source in (("a", "000.png"), ("b", "007.png")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "1.png").write_bytes((boots_folder / "new" / source).read_bytes())
    run("score", tmp_path / "in", "--model", model, "--heatmaps", tmp_path / "maps")
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 2


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
    assert "learnt from 20 images" in output


def test_fit_on_pretrained_features(run, boots_folder, tmp_path):
    weights, model = tmp_path / "squeezenet.pth", tmp_path / "m.safetensors"
    torch.save(squeezenet1_0().state_dict(), weights)
    options = ("--size", 64, "--network", "fcdd_squeezenet", "--weights", weights, "--epochs", 1)
    assert "learnt from" in run("fit", boots_folder / "good", "--model", model, *options)
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
    assert "the package itself" in run("data", "fashion-mnist-small")


def test_data_is_listed_without_being_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path)
    monkeypatch.delenv("FCDD_DATA", raising=False)
    for file in ("tinyimagenet32_jpg.tar.xz", "cifar10_jpg.tar.xz"):
        (tmp_path / file).write_text("not to be opened")
    output = run("data")
    assert str(tmp_path / "tinyimagenet32_jpg.tar.xz") in output
    assert f"{tmp_path / 'cifar10_jpg.tar.xz'} (a JPEG copy, not the official batches)" in output
    with pytest.raises(FileNotFoundError, match="voc was not found.*fcdd data voc --download"):
        run("data", "voc")


def test_data_says_that_a_folder_of_fcdd_data_is_missing(run, monkeypatch):
    monkeypatch.setenv("FCDD_DATA", "/no/such/place")
    with pytest.raises(FileNotFoundError, match="/no/such/place"):
        run("data")


def test_study(run, monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FRESH", tmp_path / "fresh")
    monkeypatch.setattr("fcdd.study.FRESH", tmp_path / "fresh")
    monkeypatch.setattr("fcdd.study.engine.run_all", lambda runs, device, plain=fcdd.study.engine.run_all: plain(
        runs, device, tmp_path / "fresh"))  # fmt: skip
    assert "no records yet; make some with: fcdd study run --profile smoke" in run("study", "list")
    output = run("study", "run", "--profile", "smoke", "--method", "svdd", "--table", tmp_path / "out" / "svdd.csv")
    assert "smoke svdd: mean AUROC 0." in output and "over 2 runs" in output
    assert (tmp_path / "out" / "svdd.csv").read_text().count("\n") == 3
    listed = run("study", "list", "--profile", "smoke").splitlines()
    first = protocol.runs("smoke", ["svdd"])[0].id
    assert len(listed) == 2 and any(line.startswith(f"{first}  AUROC 0.") for line in listed)
    assert '"auroc"' in run("study", "show", first)
    with pytest.raises(FileNotFoundError, match="no record 'smoke/none'; fcdd study list names them"):
        run("study", "show", "smoke/none")


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
        assert printed.err.startswith("error: ")
        return printed.err

    return call


@pytest.mark.parametrize("arguments, text", [
    (("fit", "no/such/folder"), "expected images below no/such/folder, found none"),
    (("score", ".", "--model", "no.safetensors"), "no model at no.safetensors; expected a file written by save()"),
    (("data", "imagenette"), "unknown data set 'imagenette'; known:"),
    (("study", "run", "--profile", "huge"), "unknown profile 'huge'; known: smoke, quick, full, paper"),
    (("study", "run", "--profile", "smoke", "--method", "pca"), "unknown method 'pca' in profile smoke"),
    (("study", "show", "smoke/none"), "no record 'smoke/none'; fcdd study list names them"),
    (("study", "chapter", "a.ipynb", "b.ipynb", "-p", "seed"), "name=value"),
])  # fmt: skip
def test_errors_are_one_line_without_a_traceback(refused, arguments, text):
    assert text in refused(*arguments)


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
    assert result.stderr == "error: no record 'none'; fcdd study list names them\n"
    helped = subprocess.run([sys.executable, "-m", "fcdd", "--help"], capture_output=True, text=True, check=True)
    assert "Deep one-class classification, from SVDD to FCDD" in helped.stdout

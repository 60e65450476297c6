"""fit, evaluate, score, export and info, from a folder to files that others can use."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import fcdd
from fcdd import calibration, cli, explain, layouts, metrics, pictures
from fcdd.cli import learning
from fcdd.cli.commands import free
from fcdd.cli.scoring import _named, _targets

ROOT = Path(__file__).parents[1]
QUICK = ("--size", 28, "--network", "fcdd_cnn28", "--epochs", 2, "--device", "cpu")


def call(*arguments, code=0):
    """A command in this process: what it says on stdout and on stderr."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if code == 0 and result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert (result.exit_code == 0) == (code == 0), result.output
    return result.stdout, result.stderr + (str(result.exception) if code else "")


def texture(seed, height=40, width=60):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(120, 15, (height, width)) + 20 * np.sin(np.arange(width) / 3), 0, 255).astype(np.uint8)


def plates(root, good=24, test=5, defects=4):
    """Textures of three sheets; defects are bright squares, with masks, in MVTec-AD's layout."""
    for part in ("train/good", "test/good", "test/dent", "ground_truth/dent"):
        (root / part).mkdir(parents=True)
    for k in range(good):
        Image.fromarray(texture(k)).save(root / f"train/good/{k % 3:02}_{k:02}.png")
    for k in range(test):
        Image.fromarray(texture(100 + k)).save(root / f"test/good/{k}.png")
    for k in range(defects):
        image, mask = texture(200 + k), np.zeros((40, 60), np.uint8)
        image[8:20, 30:44], mask[8:20, 30:44] = 255, 255
        Image.fromarray(image).save(root / f"test/dent/{k}.png")
        Image.fromarray(mask).save(root / f"ground_truth/dent/{k}_mask.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return plates(tmp_path_factory.mktemp("plates") / "plate")


@pytest.fixture(scope="module")
def fitted(folder):
    """A model with what ``fcdd fit`` said of it."""
    model = folder.parent / "models" / "plate.safetensors"
    return model, *call("fit", folder, "--model", model, "--fpr", 0.1, "--groups", "none", *QUICK)


# ---- fit ----


def test_fit_says_what_it_learns_from_and_what_it_promises(folder, fitted):
    model, out, err = fitted
    assert err.splitlines()[0] == str(layouts.recognise(folder)) and "24 good pictures" in err
    first, second = out.splitlines()
    assert first.startswith(f"{model}: 24 images; threshold") and "one of 4 models" in first
    assert second == f"{model.with_suffix('.html')}: the report" and model.with_suffix(".html").stat().st_size > 10_000
    detector = fcdd.load(model)
    assert detector.image_shape_ == (3, 28, 42)  # the aspect is kept
    assert detector.pictures_ == {"white": None, "good": 24, "defects": 0, "folder": "plate"}
    assert len(detector.calibration_scores_) == 24 and detector.calibration_.fpr == 0.1


def test_nothing_is_overwritten_and_that_is_found_before_anything_is_read(folder, fitted, monkeypatch):
    model = fitted[0]
    monkeypatch.setattr(learning, "prepare", lambda *_: pytest.fail("it began to work"))
    before = model.read_bytes()
    told = call("fit", folder, "--model", model, code=1)[1]
    assert f"{model} and 1 more would be overwritten" in told and "--force" in told and model.read_bytes() == before
    for where, reason in ((folder, "is a folder"), (model / "below" / "m.safetensors", "nothing can be written into")):
        assert reason in call("fit", folder, "--model", where, code=1)[1]


def test_force_overwrites(folder, fitted, tmp_path):
    model = tmp_path / "m.safetensors"
    model.write_text("an older one")
    call("fit", folder, "--model", model, "--force", "--fpr", 0.1, *QUICK)
    assert fcdd.load(model).image_shape_ == (3, 28, 42)


def test_free_leaves_nothing_behind(tmp_path):
    free([tmp_path / "new" / "a.png", tmp_path / "new" / "b.png"])
    assert list((tmp_path / "new").iterdir()) == []


def test_few_good_images_and_groups_are_said(folder, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for k in range(6):
        Image.fromarray(texture(k)).save(few / f"{k}.png")
    job = learning.prepare(few, "fcdd", 28, 0.05, {"network": "fcdd_cnn28"})
    assert job.detector.nu == pytest.approx(1 / 7) and "6 good images can keep no rate of 0.05" in job.said[0]
    job = learning.prepare(folder, "fcdd", 28, 0.1, {"network": "fcdd_cnn28"})
    assert job.said == ["3 groups, each held out as a whole (--groups none: each image by itself)"]
    assert calibration.choose(24, 0.1, job.groups) == {"folds": 3}


def test_folds_keep_groups_whole_and_promise_no_more_than_they_can(boots):
    X, groups = boots.train.images[:40], np.arange(40) % 5
    found = fcdd.SVDD(nu=0.1).fit(X, folds=4, groups=groups).calibration_
    assert found.images == 40 and found.groups == 5 and "or its group (5 groups)" in str(found)
    assert "nothing is guaranteed" in str(found)


@pytest.mark.parametrize("how, expected", [
    ("^(\\d+)_", ["00", "01", "02"]), ("\\d+_", ["00_", "01_", "02_"]), ("folder", ["train/good"]),
    ("{table}:sheet", ["a", "b", "c"]),
])  # fmt: skip
def test_groups_by_pattern_folder_and_table(folder, tmp_path, how, expected):
    layout, table = layouts.recognise(folder), tmp_path / "sheets.csv"
    rows = [f"{file.name},{'abc'[int(file.name[:2])]}" for file in layout.good]
    table.write_text("\n".join(["file,sheet", *rows]), encoding="utf-8")
    groups = learning.grouping(how.format(table=table), layout)
    assert len(groups) == 24 and sorted(set(groups)) == expected


@pytest.mark.parametrize("how, told", [
    ("^sheet", "fits no part of the name for 24 of 24 images"),
    ("(", "expected --groups folder, none, table.csv:column"),
    ("{table}:day", "has no 'day' for 24 of 24 images"),
    ("{table}:sheet", "for 23 of 24 images, first train/good/00_03"),
])  # fmt: skip
def test_groups_that_cannot_be_told(folder, tmp_path, how, told):
    (tmp_path / "t.csv").write_text("file,sheet\n00_00.png,a\n")
    with pytest.raises(ValueError, match=re.escape(told)):
        learning.grouping(how.format(table=tmp_path / "t.csv"), layouts.recognise(folder))


def test_known_defects_are_learnt_from_and_not_tested(folder, tmp_path):
    for name, source in (("bad", "test/dent"), ("marks", "ground_truth/dent")):
        (tmp_path / name).mkdir()
        for file in sorted((folder / source).iterdir())[:2]:
            (tmp_path / name / file.name.replace("_mask", "")).write_bytes(file.read_bytes())
    wanted = {"network": "fcdd_cnn28", "epochs": 1, "device": "cpu"}
    job = learning.prepare(folder, "fcdd", 28, 0.1, wanted, "none", tmp_path / "bad", tmp_path / "marks")
    assert job.said == ["2 images with defects to learn from, 2 of them test images, which are not tested"]
    assert len(job.layout.test) == 7 and len(job.images) == 26 and job.masks[24:].any((1, 2, 3)).tolist() == [True] * 2
    assert not job.masks[:24].any()
    judged = learning.learn(job)
    assert len(judged.files) == 7 and job.detector.calibration_.images == 24
    with pytest.raises(ValueError, match="PatchNeighbours does not learn from anomalies"):
        learning.prepare(folder, "patches", 28, 0.1, {}, "none", tmp_path / "bad")
    (tmp_path / "marks" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match="none for .'1.png'"):
        learning.prepare(folder, "fcdd", 28, 0.1, wanted, "none", tmp_path / "bad", tmp_path / "marks")
    with pytest.raises(ValueError, match="expected --outliers with --masks"):
        learning.prepare(folder, "fcdd", 28, 0.1, wanted, masks=tmp_path / "marks")


def test_fit_in_tiles(folder, tmp_path):
    model = tmp_path / "t.safetensors"
    options = ("--tile", 28, "--network", "fcdd_cnn28", "--epochs", 1, "--fpr", 0.1, "--groups", "none")
    call("fit", folder, "--model", model, *options)
    detector = fcdd.load(model)
    assert type(detector).__name__ == "Tiled" and detector.image_shape_ == (3, 40, 60)
    call("score", folder / "test/dent/0.png", "--model", model, "--heatmaps", tmp_path / "h", "--raw", "npy")
    assert np.load(tmp_path / "h" / "0.npy").shape == (40, 60)


# ---- evaluate ----


def test_evaluate_prints_numbers_of_the_library(folder, fitted, tmp_path):
    model = fitted[0]
    out, err = call("evaluate", folder, "--model", model, "--json", "--report", tmp_path / "r.html")
    found, detector, split = json.loads(out), fcdd.load(model), fcdd.datasets.folder(folder, (28, 42))
    scores, maps = detector.scores_and_maps(split.test.images)
    assert found["auroc"] == pytest.approx(metrics.auroc(split.test.anomalous, scores))
    assert found["pixel_auroc"] == pytest.approx(metrics.pixel_auroc(split.test.masks, maps), abs=1e-6)
    assert found["aupro"] == pytest.approx(metrics.aupro(split.test.masks, maps), abs=1e-6)
    assert found["missed"] == int((detector.predict(split.test.images)[split.test.anomalous] > 0).sum())
    assert found["good"] == 5 and found["anomalous"] == 4 and 0 <= found["shift_p"] <= 1
    assert (tmp_path / "r.html").exists() and err.startswith(str(folder))
    assert (
        "would be overwritten" in call("evaluate", folder, "--model", model, "--report", tmp_path / "r.html", code=1)[1]
    )


def test_evaluate_a_folder_of_good_images(folder, fitted, tmp_path):
    out, err = call("evaluate", folder / "test" / "good", "--model", fitted[0], "--report", tmp_path / "r.html")
    assert "all are judged as good ones" in err and "false_alarms" in out and "auroc" not in out


# ---- score ----


def test_score_as_csv_and_json(folder, fitted):
    model, detector = fitted[0], fcdd.load(fitted[0])
    out, _ = call("score", folder / "test", "--model", model, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    lines = [json.loads(line) for line in call("score", folder / "test", "--model", model, "--json")[0].splitlines()]
    files = pictures.find(folder / "test").files
    expected = detector.anomaly_score(torch.cat([pictures.Pictures([file], (28, 42), 3)[:] for file in files]))
    p = calibration.p_values(detector.calibration_scores_, expected)
    assert (
        [row["file"] for row in rows]
        == [each["file"] for each in lines]
        == [file.relative_to(folder / "test").as_posix() for file in files]
    )
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected, rtol=1e-4)
    np.testing.assert_allclose([each["score"] for each in lines], expected, rtol=1e-5)
    np.testing.assert_allclose([each["p"] for each in lines], p, atol=0.05)
    flagged = [row["verdict"] == "anomalous" for row in rows]
    assert flagged == (-expected < detector.offset_).tolist() == [e["verdict"] == "anomalous" for e in lines]
    assert "expected --csv or --json" in call("score", folder, "--model", model, "--csv", "--json", code=1)[1]


def test_heatmaps_have_the_size_of_the_pictures(folder, fitted, tmp_path):
    model = fitted[0]
    Image.fromarray(texture(5, 80, 120)).save(tmp_path / "large.png")
    for raw, read in (("npy", np.load), ("tiff", lambda file: np.asarray(Image.open(file)))):
        where = tmp_path / raw
        files = (tmp_path / "large.png", folder / "test/dent/1.png")
        out, err = call("score", *files, "--model", model, "--heatmaps", where, "--raw", raw, "--own-scale")
        assert "2 heatmaps in" in err and len(out.splitlines()) == 2
        heat = {file.stem: read(file) for file in where.rglob(f"*.{raw}")}
        assert heat["large"].shape == (80, 120) and heat["1"].shape == (40, 60) and heat["1"].dtype == np.float32
        X = pictures.Pictures([files[1]], (28, 42), 3)[:]
        expected = explain.at_size(fcdd.load(model).anomaly_map(X)[0], (40, 60))
        np.testing.assert_allclose(heat["1"], expected, rtol=1e-3, atol=1e-5)
        assert {Image.open(file).size for file in where.rglob("*.png")} == {(240, 80), (120, 40)}
        assert pictures.find(where).files == []  # what was drawn is no picture to judge
        told = call("score", *files, "--model", model, "--heatmaps", where, "--raw", raw, code=1)[1]
        assert "would be overwritten" in told


def test_one_scale_for_all_is_that_of_all_maps(folder, fitted, tmp_path, monkeypatch):
    """Also where the sample is a part of the folder, and whatever its size."""
    test, written = folder / "test/good", {}
    for sample in (256, 3):
        monkeypatch.setattr("fcdd.cli.scoring.SAMPLE", sample)
        call("score", test, "--model", fitted[0], "--heatmaps", tmp_path / str(sample))
        written[sample] = [np.asarray(Image.open(f), int) for f in sorted((tmp_path / str(sample)).iterdir())]
    X = pictures.Pictures(pictures.find(test).files, (28, 42), 3)[:]
    maps = np.stack([explain.at_size(heat, (40, 60)) for heat in fcdd.load(fitted[0]).anomaly_map(X)])
    shown = explain.for_display(maps, limits=explain.display_limits(fcdd.load(fitted[0]).anomaly_map(X), 0.99))
    for k, found in enumerate(written[256]):
        picture = pictures.read(pictures.find(test).files[k])
        assert abs(found - explain.overlay(picture, shown[k])).max() <= 1
    assert len(written[3]) == 5


def test_names_below_what_was_given(tmp_path):
    for name in ("a/1.png", "a/1.jpg", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    named, _ = _named([tmp_path / "a", tmp_path / "b" / "1.png"])
    assert [str(name) for name in named.values()] == ["a/1.jpg", "a/1.png", "b/1.png"]
    targets = [str(path.relative_to(tmp_path)) for path in _targets(tmp_path / "h", named).values()]
    assert targets == ["h/a/1.jpg", "h/a/1.png", "h/b/1"]
    assert [str(name) for name in _named([tmp_path / "b" / "1.png"])[0].values()] == ["1.png"]


def test_a_shift_is_said(folder, fitted, tmp_path):
    for k in range(12):
        Image.fromarray(texture(k) // 3).save(tmp_path / f"{k}.png")  # a darker lamp
    detector = fcdd.load(fitted[0])
    known = detector.calibration_scores_
    assert not calibration.shift(known, known) and "no shift found" in str(calibration.shift(known, known))
    moved = calibration.shift(known, known + 10)
    assert moved and "score higher than the 24 calibrated on" in str(moved) and "calibrate again" in str(moved)
    assert calibration.shift(known, known[:4]) is None


def test_the_shift_test_keeps_its_level():
    """Of good images that nothing has happened to it cries in about one case of a hundred, also when what lies above
    the threshold is left out; of images among which some are defects no more often."""
    rng, told = np.random.default_rng(0), {"all": 0, "censored": 0, "with defects": 0}
    for _ in range(400):
        known, new = rng.normal(size=60), rng.normal(size=80)
        threshold = calibration.calibrate(known, 0.05).threshold
        told["all"] += bool(calibration.shift(known, new))
        told["censored"] += bool(calibration.shift(known, new, threshold))
        told["with defects"] += bool(calibration.shift(known, [*new, *rng.normal(8, 1, 40)], threshold))
    assert max(told.values()) <= 12
    assert sum(bool(calibration.shift(rng.normal(size=60), rng.normal(1, 1, 80))) for _ in range(100)) > 95


def test_p_values_are_uniform_for_good_images():
    rng = np.random.default_rng(1)
    p = np.concatenate([calibration.p_values(rng.random(19), rng.random(20)) for _ in range(300)])
    assert p.min() == pytest.approx(1 / 20) and p.max() == 1
    for level in (0.05, 0.2, 0.5):
        assert (p <= level + 1e-9).mean() == pytest.approx(level, abs=0.03)
    assert calibration.p_values([1.0, 2, 3], [0, 2, 5]).tolist() == [1, 0.75, 0.25]


# ---- export and info ----


def test_export_runs_as_the_page_says(folder, fitted, tmp_path, capsys):
    """The page's own lines, on another model and picture."""
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    out, _ = call("export", tmp_path / "gla01.onnx", "--model", fitted[0])
    assert "the same scores and maps" in out
    page = (ROOT / "book" / "your_images.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "onnxruntime" in block)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 12
    file = folder / "test/dent/0.png"
    code = code.replace("gla01.onnx", str(tmp_path / "gla01.onnx"))
    code = code.replace("papers/gla01_tl/test/impurity/09_1.jpg", str(file))
    exec(code, names := {})
    X, detector = pictures.Pictures([file], (28, 42), 3)[:], fcdd.load(fitted[0])
    assert names["score"][0] == pytest.approx(detector.anomaly_score(X)[0], rel=1e-3)
    assert ("anomalous" in capsys.readouterr().out) == (detector.predict(X)[0] < 0)
    assert "would be overwritten" in call("export", tmp_path / "gla01.onnx", "--model", fitted[0], code=1)[1]


def test_export_refuses_a_file_that_gives_other_numbers(fitted, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from fcdd import onnx

    class Other:
        def run(self, names, given):
            return [np.zeros(3, np.float32), np.zeros((3, 1, 28, 42), np.float32)]

    onnx.to_onnx(fcdd.load(fitted[0]), tmp_path / "m.onnx")
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: Other())
    with pytest.raises(RuntimeError, match="gives other numbers than the detector"):
        onnx.verify(fcdd.load(fitted[0]), tmp_path / "m.onnx")


def test_the_patch_memory_can_be_exported(boots, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from fcdd import onnx

    X = torch.nn.functional.interpolate(boots.train.images[:8].float(), 64).expand(-1, 3, -1, -1) / 255
    detector = fcdd.PatchNeighbours(bank=200, device="cpu").fit(X, held_out=0)
    onnx.to_onnx(detector, tmp_path / "p.onnx")
    assert onnx.verify(detector, tmp_path / "p.onnx") <= 1e-4


def test_info(fitted):
    out, _ = call("info", fitted[0])
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) > 1)
    assert rows["detector"] == "FCDD" and rows["epochs"] == "2" and rows["good"] == "24"
    assert rows["promise"].startswith("threshold") and float(rows["threshold"]) > 0


# ---- as a process ----


def test_results_on_stdout_and_names_as_they_are(folder, fitted, tmp_path):
    """Names that are not UTF-8, or that rich would take for markup or emoji; a pipe that is closed early."""
    picture = (folder / "test/good/0.png").read_bytes()
    names = [b"gr\xf6\xdfe.png", b"cam:x:3.png", b"[red]plate[bold].png"]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(picture)
    command = [sys.executable, "-m", "fcdd", "score", str(tmp_path), "--model", str(fitted[0])]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert len(told.stdout.splitlines()) == 3 and all(name in told.stdout for name in names)
    closed = subprocess.run(
        f'"{sys.executable}" -m fcdd score "{folder}" --model "{fitted[0]}" | head -1',
        shell=True, capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert closed.stdout.count("\n") == 1 and "Traceback" not in closed.stderr and "bug" not in closed.stderr

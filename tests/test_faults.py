"""What goes wrong around a training: losses that explode, a GPU that is too small, disks, rights, scans."""

import os
import platform
import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from test_commands import call, plates, texture

import fcdd
from fcdd import files, memory, training
from fcdd.many import fit_all

TINY = {"network": "fcdd_cnn28", "epochs": 3, "batch_size": 16, "device": "cpu"}


def same(one, other):
    pairs = zip(one.network_.state_dict().values(), other.network_.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.history_ == other.history_ and one.offset_ == other.offset_


# ---- a loss that explodes ----


def exploding(monkeypatch, step):
    """The loss of so many steps from now is infinite."""
    steps, loss = [], fcdd.FCDD._loss

    def exploded(self, outputs, y, masks):
        steps.append(1)
        return loss(self, outputs, y, masks) * (torch.inf if len(steps) == step else 1)

    monkeypatch.setattr(fcdd.FCDD, "_loss", exploded)


def test_the_last_good_epoch_is_kept_and_can_be_had(boots, tmp_path, monkeypatch):
    X, file = boots.train.images[:48], tmp_path / "c.pt"
    two = fcdd.FCDD(**TINY | {"epochs": 2}).fit(X)
    with monkeypatch.context() as patch:
        exploding(patch, 8)  # three steps an epoch
        told = (
            f"became inf in batch 2 of epoch 3; {file} keeps epoch 2: fit with epochs=2 gives the model as it was then"
        )
        with pytest.raises(FloatingPointError, match=re.escape(told)):
            fcdd.FCDD(**TINY).fit(X, checkpoint=file)
    assert same(fcdd.FCDD(**TINY | {"epochs": 2}).fit(X, checkpoint=file), two)
    with pytest.raises(ValueError, match="holds 2 epochs, more than the 1 asked for; delete it"):
        fcdd.FCDD(**TINY | {"epochs": 1}).fit(X, checkpoint=file)
    # More epochs go on from fewer, with the same bits: nothing that is learnt depends on how many there will be.
    assert same(fcdd.FCDD(**TINY).fit(X, checkpoint=file), fcdd.FCDD(**TINY).fit(X))


def test_without_a_good_epoch_or_a_checkpoint_that_is_said(boots, tmp_path, monkeypatch):
    for step, file, told in ((2, tmp_path / "c.pt", "batch 2 of epoch 1; try a smaller learning_rate"),
                             (8, None, "batch 2 of epoch 3; nothing is kept without a checkpoint; try")):  # fmt: skip
        with monkeypatch.context() as patch:
            exploding(patch, step)
            with pytest.raises(FloatingPointError, match=told):
                fcdd.FCDD(**TINY).fit(boots.train.images[:48], checkpoint=file)
    assert not list(tmp_path.iterdir())


def test_the_command_line_calls_it_no_bug():
    try:
        training.refuse_infinite(torch.tensor([[1.0, torch.nan]]), torch.nn.Linear(1, 1), 4)
    except FloatingPointError as error:
        code, text = fcdd.errors.verdict(error, {"fcdd"})
    assert code == 1 and text == "error: the loss became nan in batch 2 of epoch 5; try a smaller learning_rate"


# ---- a GPU that is too small ----


def small_gpu(monkeypatch, most):
    """Batches of more than ``most`` images do not fit when they are normalised."""
    plain = fcdd.augment.Normalisation.__call__

    def called(self, images):
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, images)

    monkeypatch.setattr(fcdd.augment.Normalisation, "__call__", called)


def test_a_training_begins_anew_with_half_the_batch(boots, monkeypatch, tmp_path):
    X, file = boots.train.images[:48], tmp_path / "c.pt"
    halved = fcdd.FCDD(**TINY | {"batch_size": 8}).fit(X)
    with monkeypatch.context() as patch:
        small_gpu(patch, 8)
        with pytest.warns(UserWarning, match="out of memory on the GPU: once more with batches of 8"):
            detector = fcdd.FCDD(**TINY | {"batch_size": 32}).fit(X, checkpoint=file)
    assert same(detector, halved) and detector.batch_size == 32
    assert detector.halved_ == {"batch_size": 8} and detector.resolved_["batch_size"] == 8
    assert [each.name for each in tmp_path.iterdir()] == ["c.pt.batch8"]
    detector.save(tmp_path / "m.safetensors")
    assert fcdd.load(tmp_path / "m.safetensors").resolved_["batch_size"] == 8  # and so fcdd info shows it
    assert detector.fit(X).halved_ == {} and "batch_size" not in detector.resolved_


def test_a_batch_that_fits_in_the_middle_of_a_training_does_not_mix(boots, monkeypatch, tmp_path):
    """Memory that runs out after an epoch: the halved training begins at the beginning, whatever was kept."""
    X, steps, plain = boots.train.images[:48], [], fcdd.FCDD._loss

    def loss(self, outputs, y, masks):
        steps.append(len(outputs))
        if len(outputs) > 8 and len(steps) > 4:
            raise torch.OutOfMemoryError
        return plain(self, outputs, y, masks)

    with monkeypatch.context() as patch:
        patch.setattr(fcdd.FCDD, "_loss", loss)
        with pytest.warns(UserWarning, match="batches of 8"):
            detector = fcdd.FCDD(**TINY).fit(X, checkpoint=tmp_path / "c.pt")
    assert same(detector, fcdd.FCDD(**TINY | {"batch_size": 8}).fit(X))


@pytest.mark.parametrize("make", [
    lambda: fcdd.FCDD(**TINY), lambda: fcdd.Autoencoder(network="mnist_lenet", epochs=1, batch_size=16, device="cpu"),
    lambda: fcdd.PatchNeighbours(network="fcdd_cnn28", layers=(2,), bank=50, batch_size=16, device="cpu"),
    lambda: fcdd.DeepSVDD(network="mnist_lenet", epochs=1, batch_size=16, device="cpu"),
])  # fmt: skip
def test_scores_and_maps_come_in_smaller_batches(boots, monkeypatch, make):
    X, few = boots.test.images[:16], boots.train.images[:40]
    detector = make().fit(few)
    scores, maps = detector.scores_and_maps(X)
    with monkeypatch.context() as patch:
        small_gpu(patch, 5)
        with pytest.warns(UserWarning, match="batches of 4"):
            found = detector.scores_and_maps(X)
        if isinstance(detector, fcdd.PatchNeighbours):
            with pytest.warns(UserWarning, match="batches of 4"):
                np.testing.assert_allclose(make().fit(few).bank_, detector.bank_, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, (scores, maps), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_stacks_that_do_not_fit_even_one_by_one_are_halved_too(boots, monkeypatch):
    X = [boots.train.images[:24], boots.train.images[24:48]]
    small_gpu(monkeypatch, 8)
    with pytest.warns(UserWarning, match="batches of 8"):
        both = fit_all([fcdd.FCDD(**TINY, seed=k) for k in range(2)], X)
    assert [one.halved_ for one in both] == [{"batch_size": 8}] * 2


def test_where_nothing_fits_the_error_stays():
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="out of memory on the GPU") as told:
        memory.halving(lambda size: (_ for _ in ()).throw(torch.OutOfMemoryError), 8, 2)
    assert [str(each.message).split()[-1] for each in told] == ["4", "2"]


# ---- disks and rights ----


@contextmanager
def mounted(folder, options):
    """A tmpfs at ``folder``, where one can be mounted."""
    folder.mkdir()
    told = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if told.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {told.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fcdd_says(*arguments, limit=None):
    """The command line in a process of its own, with files of ``limit`` bytes at most: exit code, stdout, stderr."""
    command = [sys.executable, "-m", "fcdd", *map(str, arguments)]
    if limit is not None:  # Python ignores the signal that comes with it, so that the write fails
        allow = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        command[1:3] = ["-c", allow + "sys.argv[0] = 'fcdd'; runpy.run_module('fcdd', run_name='__main__')"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    return told.returncode, told.stdout, told.stderr


QUICK = ("--size", 28, "--network", "fcdd_cnn28", "--epochs", 2, "--device", "cpu", "--groups", "none", "--fpr", 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return plates(tmp_path_factory.mktemp("plates") / "plate", good=16, test=2, defects=2)


@pytest.fixture(scope="module")
def model(folder):
    path = folder.parent / "models" / "m.safetensors"
    assert fcdd_says("fit", folder, "--model", path, *QUICK)[0] == 0
    return path


def refused(told, *words):
    """One clear message, exit code 1, and no traceback."""
    code, _, err = told
    assert code == 1 and re.search("^error: ", err, re.M) and "Traceback" not in err and "bug in fcdd" not in err, err
    assert all(word in err for word in words), err


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_model(folder, model, tmp_path):
    """A tmpfs of 40 kB that holds an old model: the new one and the report have no room."""
    with mounted(tmp_path / "full", "size=40k") as full:
        target = full / "m.safetensors"
        target.write_bytes(model.read_bytes())
        refused(fcdd_says("fit", folder, "--model", target, "--force", "--seed", 3, *QUICK), "cannot be written", "m.")
        assert target.read_bytes() == model.read_bytes() or fcdd.load(target).seed == 3  # old or new, whole
        refused(fcdd_says("fit", folder, "--model", tmp_path / "m.safetensors", "--checkpoint", full / "c.pt", *QUICK),
                "c.pt", "cannot be written", "no room")  # fmt: skip
        refused(fcdd_says("score", folder, "--model", model, "--heatmaps", full / "h", "--raw", "npy"), "cannot be wr")
        pytest.importorskip("onnxscript", reason="needs the extra onnx")
        refused(fcdd_says("export", full / "m.onnx", "--model", model), "m.onnx cannot be written")
        left = [each.name for each in full.rglob("*") if each.is_file()]
        assert not [name for name in left if ".part" in name or name.startswith(("c.pt", "m.onnx"))], left
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.slow
def test_a_limit_of_the_size_of_files_is_a_full_disk(folder, tmp_path):
    target = tmp_path / "m.safetensors"
    target.write_text("an older one")
    refused(fcdd_says("fit", folder, "--model", target, "--force", *QUICK, limit=10_000), "m.safetensors cannot be wr")
    assert target.read_text() == "an older one" and [each.name for each in tmp_path.iterdir()] == [target.name]


@pytest.mark.slow
def test_a_folder_that_can_only_be_read_is_said_before_training(folder, model, tmp_path):
    with mounted(tmp_path / "ro", "size=1m") as place:
        (place / "old.safetensors").write_text("old")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for arguments in (("fit", folder, "--model", place / "m.safetensors", *QUICK),
                          ("fit", folder, "--model", place / "old.safetensors", "--force", *QUICK),
                          ("fit", folder, "--model", tmp_path / "m.safetensors", "--checkpoint", place / "c", *QUICK),
                          ("score", folder, "--model", model, "--heatmaps", place),
                          ("evaluate", folder, "--model", model, "--report", place / "r.html"),
                          ("export", place / "m.onnx", "--model", model)):  # fmt: skip
            told = fcdd_says(*arguments)
            refused(told, f"nothing can be written into {place}")
            assert str(folder) not in told[2] and not told[1]  # nothing was begun
        assert (place / "old.safetensors").read_text() == "old"


def test_what_killed_processes_left_is_swept_away(tmp_path):
    """Of this file, and of processes that have ended; what another one is writing stays."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    node, target = platform.node(), tmp_path / "a[1].json"
    kept = [f".a[1]-{node}-{os.getpid()}-1234abcd.part.json", f".a[1]-elsewhere-{ended.pid}-1234abcd.part.json",
            f".b-{node}-{ended.pid}-1234abcd.part.json"]  # fmt: skip
    for name in (*kept, f".a[1]-{node}-{ended.pid}-1234abcd.part.json"):
        (tmp_path / name).write_text("half")
    with files.whole(target) as partial:
        partial.write_text("all of it")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*kept, target.name])


# ---- a scan of 100 megapixels ----


@pytest.mark.slow
def test_a_scan_of_100_megapixels(folder, model, tmp_path):
    """Judged with its heatmap at its own size; what is larger than Pillow takes is refused by name."""
    scans = tmp_path / "scans"
    scans.mkdir()
    scan = np.tile(texture(1, 100, 150), (82, 82))
    Image.fromarray(scan).save(scans / "scan.png", compress_level=1)
    code, out, err = fcdd_says("score", scans, "--model", model, "--heatmaps", tmp_path / "h")
    assert code == 0 and "scan.png" in out, err
    Image.MAX_IMAGE_PIXELS, before = None, Image.MAX_IMAGE_PIXELS
    try:
        assert Image.open(tmp_path / "h" / "scan.png").size == (2 * scan.shape[1], scan.shape[0])
    finally:
        Image.MAX_IMAGE_PIXELS = before
    Image.new("1", (14_000, 14_000)).save(scans / "huge.png")
    refused(
        fcdd_says("score", scans, "--model", model), "1 of 2 images could not be judged", "huge.png: cannot be read"
    )


# ---- what cannot be used may be skipped ----


@pytest.fixture
def damaged(tmp_path):
    """Three good pictures, one test picture and two masks that cannot be used, and files of other kinds."""
    root = plates(tmp_path / "plate", good=16, test=3, defects=4)
    for name in ("train/good/00_00.png", "train/good/01_04.png", "test/good/1.png", "ground_truth/dent/0_mask.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    (root / "train/good/notes.txt").write_text("made on monday")
    (root / "train/good/a.heic").write_text("x")
    Image.new("L", (60, 40)).save(root / "ground_truth/dent/1_mask.png")  # marks nothing
    return root


BROKEN = ("00_00.png", "01_04.png", "good/1.png", "0_mask.png", "1_mask.png")


def test_all_problems_of_a_folder_come_in_one_message(damaged, tmp_path):
    model = tmp_path / "m.safetensors"
    told = call("fit", damaged, "--model", model, *QUICK, code=1)[1]
    assert "2 problems in" in told and "0_mask.png: cannot be read" in told and "1_mask.png: marks nothing" in told
    for name in ("0_mask.png", "1_mask.png"):
        (damaged / "ground_truth/dent" / name).write_bytes((damaged / "ground_truth/dent/2_mask.png").read_bytes())
    told = call("fit", damaged, "--model", model, *QUICK, code=1)[1]
    assert "2 pictures are damaged:" in told and "00_00.png" in told and "01_04.png" in told and not model.exists()


def test_skip_bad_leaves_out_another_shape_and_damaged_defects(tmp_path):
    """A phone's portrait among landscapes, and a known defect that cannot be read."""
    for folder, count in (("parts", 12), ("known", 3)):
        (tmp_path / folder).mkdir()
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 255, (64, 96), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{k}.png")
    Image.fromarray(pixels.T.copy()).save(tmp_path / "parts" / "portrait.png")
    (tmp_path / "known" / "0.png").write_bytes(b"no picture")
    path, outliers = tmp_path / "m.safetensors", ("--outliers", tmp_path / "known")
    told = call("fit", tmp_path / "parts", "--model", path, *outliers, *QUICK, code=1)[1]
    assert "one aspect ratio" in told and not path.exists()
    out, err = call("fit", tmp_path / "parts", "--model", path, *outliers, "--skip-bad", *QUICK)
    assert "portrait.png: 64×96 px, another aspect ratio than most" in err and "known/0.png" in err
    assert f"{path}: 12 images" in out and "2 images with defects to learn from" in err and "2 skipped:" in err


def test_skip_bad_goes_on_and_says_what_was_left_out(damaged, tmp_path):
    path, report = tmp_path / "m.safetensors", ("--report", tmp_path / "r.html")
    out, err = call("fit", damaged, "--model", path, "--skip-bad", *QUICK)
    end = err[err.rindex("passed over") :]
    assert f"{path}: 14 images" in out and "5 skipped:" in end and all(name in end for name in BROKEN), err
    assert "1 no pictures (notes.txt)" in end and "a.heic" in end
    out, err = call("evaluate", damaged, "--model", path, "--skip-bad", *report)
    assert "5 skipped:" in err and re.search("good +2\n.*anomalous +2\n", out, re.S)
    told = call("evaluate", damaged, "--model", path, *report, "--force", code=1)[1]
    assert "2 problems in" in told and "0_mask.png: cannot be read" in told
    listed, told = call("score", damaged / "test", "--model", path, code=1)
    assert "1 of 7 images could not be judged:\n- " in told and len(listed.splitlines()) == 6
    skipped, told = call("score", damaged / "test", "--model", path, "--skip-bad")
    assert skipped == listed and "1 of 7 images could not be judged:\n- " in told

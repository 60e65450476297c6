"""What goes on beside a training: callbacks, no bar, and checkpoints that go on after a kill with the same bits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import fcdd

TINY = {"network": "fcdd_cnn28", "epochs": 3, "batch_size": 16, "device": "cpu"}


def weights(detector):
    return [value for value in detector.network_.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_callbacks_see_every_epoch_and_may_end_the_training(boots):
    seen = []

    def watch(detector, epoch, loss):
        seen.append((epoch, loss, float(detector.anomaly_score(boots.test.images[:4]).mean())))
        return epoch == 2

    detector = fcdd.FCDD(**TINY).fit(boots.train.images[:48], callbacks=[watch])
    assert [epoch for epoch, *_ in seen] == [1, 2] and [loss for _, loss, _ in seen] == detector.history_
    untouched = fcdd.FCDD(**TINY | {"epochs": 2}).fit(boots.train.images[:48])
    assert same(detector, untouched) or untouched.decay != 1  # scoring in between changes nothing
    np.testing.assert_array_equal(detector.history_, untouched.history_)


def test_a_detector_without_epochs_refuses_them(boots, tmp_path):
    X = boots.train.images[:20]
    with pytest.raises(ValueError, match="expected no callbacks and no checkpoint: SVDD trains in no epochs"):
        fcdd.SVDD().fit(X, checkpoint=tmp_path / "c")
    fcdd.SVDD().fit(X, verbose=False)


@pytest.mark.parametrize("verbose", [True, False])
def test_without_verbose_there_is_no_bar(boots, monkeypatch, verbose):
    made = []
    real = fcdd.training.tqdm
    monkeypatch.setattr(fcdd.training, "tqdm", lambda **how: made.append(how.get("disable")) or real(**how))
    fcdd.FCDD(**TINY | {"epochs": 1}).fit(boots.train.images[:32], verbose=verbose)
    assert made == [None if verbose else True]


@pytest.mark.parametrize("make", [
    lambda: fcdd.FCDD(**TINY),
    lambda: fcdd.DeepSVDD(epochs=3, objective="soft-boundary", warmup_epochs=1, batch_size=16, device="cpu"),
])  # fmt: skip
def test_a_training_that_was_cut_off_ends_with_the_same_bits(boots, tmp_path, make):
    X, file = boots.train.images[:48], tmp_path / "deep" / "check.pt"
    whole = make().fit(X)

    def stop(detector, epoch, loss):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().fit(X, callbacks=[stop], checkpoint=file)
    seen = []
    went_on = make().fit(X, checkpoint=file, callbacks=[lambda detector, epoch, loss: seen.append(epoch)])
    assert seen == [3] and went_on.history_ == whole.history_ and same(went_on, whole)
    assert went_on.offset_ == whole.offset_ and getattr(went_on, "radius_", 0) == getattr(whole, "radius_", 0)
    assert [each.name for each in file.parent.iterdir()] == ["check.pt"]


def test_folds_have_checkpoints_of_their_own(boots, tmp_path):
    X, file = boots.train.images[:40], tmp_path / "c.pt"
    whole = fcdd.FCDD(**TINY, nu=0.1).fit(X, folds=2)
    for _ in range(2):  # the second time all is there already
        again = fcdd.FCDD(**TINY, nu=0.1).fit(X, folds=2, checkpoint=file)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["c.pt", "c.pt.fold1", "c.pt.fold2"]
        assert again.calibration_ == whole.calibration_ and same(again, whole)


@pytest.mark.parametrize("change", ["images", "settings", "damage"])
def test_a_checkpoint_of_something_else_is_refused(boots, tmp_path, change):
    X, file = boots.train.images[:32], tmp_path / "c.pt"
    fcdd.FCDD(**TINY).fit(X, checkpoint=file)
    options = TINY | ({"learning_rate": 0.02} if change == "settings" else {})
    if change == "damage":
        file.write_bytes(file.read_bytes()[:200])
    told = "no checkpoint that can be read" if change == "damage" else "of other images, other settings"
    with pytest.raises(ValueError, match=f"c.pt.*{told}.*delete it"):
        fcdd.FCDD(**options).fit(boots.train.images[32:64] if change == "images" else X, checkpoint=file)


SCRIPT = """
import sys, fcdd, torch
torch.set_num_threads(1)
X = fcdd.datasets.load("fashion-mnist-small", "Ankle boot").train.images[:64]
detector = fcdd.FCDD(network="fcdd_cnn28", epochs=40, batch_size=16, device="cpu", seed=3)
detector.fit(X, checkpoint=sys.argv[1] if len(sys.argv) > 2 else None).save(sys.argv[-1])
"""


def test_a_killed_process_resumes_bit_equal(tmp_path):
    """A real SIGKILL, at whatever point of an epoch it comes."""
    file, resumed, whole = (tmp_path / name for name in ("c.pt", "resumed.safetensors", "whole.safetensors"))
    command = [sys.executable, "-c", SCRIPT]
    process = subprocess.Popen([*command, file, resumed])
    deadline = time.monotonic() + 240
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not resumed.exists() and file.exists()
    subprocess.run([*command, file, resumed], check=True)
    subprocess.run([*command, whole], check=True)
    one, other = (fcdd.load(path) for path in (resumed, whole))
    assert one.history_ == other.history_ and same(one, other) and one.offset_ == other.offset_

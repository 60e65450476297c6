"""What goes wrong around a training: losses that explode, a GPU that is too small, disks, rights, scans."""

import re

import numpy as np
import pytest
import torch

import fcdd
from fcdd import memory, training
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

"""Long trainings: killed ones go on and give the same bits, those over their hours are cut and say so."""

import pytest
import torch

from fcdd import augment
from fcdd_study import engine, protocol, records, resume

RUN = protocol.Run("fashion-mnist-small", "Ankle boot", "fcdd", 0, "smoke")


@pytest.fixture(autouse=True)
def limited(monkeypatch, tmp_path):
    """The smoke profile with hours, and nothing left in this folder."""
    entry = protocol.PROFILES["smoke"][RUN.dataset]
    settings = {"network": "fcdd_cnn28", "epochs": 3}
    changed = {"classes": [RUN.normal], "hours": 1, "methods": entry["methods"] | {"fcdd": settings}}
    monkeypatch.setitem(protocol.PROFILES["smoke"], RUN.dataset, entry | changed)
    monkeypatch.setattr(records, "ROOT", tmp_path)


def killed_after(epochs, monkeypatch):
    def called(self, detector, epoch, loss, plain=resume.Clock.__call__):
        plain(self, detector, epoch, loss)
        if epoch == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume.Clock, "__call__", called)
        with pytest.raises(KeyboardInterrupt):
            engine.execute(RUN, "cpu")


def test_a_killed_training_goes_on_and_its_seconds_add_up(monkeypatch, tmp_path):
    whole = engine.execute(RUN, "cpu")
    resume.forget(RUN)
    killed_after(2, monkeypatch)
    checkpoint, seconds = resume.files(RUN)
    assert checkpoint.exists() and 0 < resume.spent(seconds) < 3600
    seconds.write_text("1000.0")
    again = engine.execute(RUN, "cpu")
    assert again["history"] == whole["history"] and again["metrics"] == whole["metrics"] and "cut" not in again
    assert 1000 < again["seconds"]["fit"] < 2000 and len(again["history"]) == 3
    engine.run_all([RUN], "cpu", tmp_path / "records")
    assert not checkpoint.exists() and not seconds.exists()  # recorded


def test_a_training_over_its_hours_is_cut_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(protocol.PROFILES["smoke"][RUN.dataset], "hours", 0.0)
    record = engine.execute(RUN, "cpu")
    assert record["cut"] == {"epochs": 1, "hours": 0.0} and len(record["history"]) == 1
    records.write(record, tmp_path)
    assert records.table(tmp_path)["cut_epochs"].tolist() == [1]


def test_a_clock_without_its_checkpoint_begins_anew():
    _, seconds = resume.files(RUN)
    seconds.parent.mkdir(parents=True)
    seconds.write_text("5000.0")
    (clock,) = resume.watched(RUN)["callbacks"]
    assert clock.before == 0 and not seconds.exists()


def test_other_runs_have_neither():
    other = protocol.Run("textures", "brick", "fcdd", 0, "smoke")
    assert resume.watched(other) == {} and resume.told(other, 1, 2.0) == (2.0, {})


@pytest.mark.filterwarnings("ignore:out of memory on the GPU")
def test_a_run_that_no_gpu_held_never_counts_as_the_profiles(monkeypatch, tmp_path):
    """Its record says with which batch it was trained, is stale for good, and is made once a call, not twice."""
    made, plain = [], augment.Normalisation.__call__

    def small(self, images):
        if len(images) > 32:
            raise torch.OutOfMemoryError
        return plain(self, images)

    monkeypatch.setattr(augment.Normalisation, "__call__", small)
    monkeypatch.setattr(engine, "_record", lambda trained, plain=engine._record: made.append(1) or plain(trained))
    table = engine.run_all([RUN], "cpu", tmp_path / "records")
    record = records.read(records.path_of(RUN, tmp_path / "records"))
    assert record["settings"] == RUN.settings | {"batch_size": 32} and records.stale(record) == ["settings"]
    assert made == [1] and table["stale"].tolist() == ["settings"]
    assert not [file for file in (tmp_path / "_build").rglob("*") if file.is_file()]  # the halved one's checkpoint, too

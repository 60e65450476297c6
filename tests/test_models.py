"""Model files of every age load with equal scores; damaged, foreign and hostile ones are refused and run nothing.

``models/`` holds small files of older versions, named by the commit that wrote them, with the scores that it gave:
912f798 (the first form), 374cef8 (patch memories, before they were whitened), f158236 (calibrated thresholds),
05e4f3a (settings that were "auto"; the last one without a checksum).
"""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import fcdd

MODELS = Path(__file__).parent / "models"
SCORES = json.loads((MODELS / "scores.json").read_text(encoding="utf-8"))


def samples(name, images):
    return images.flatten(1).double().numpy()[:, ::56] if name.endswith("-svdd") and "deep" not in name else images


@pytest.fixture(scope="module")
def images():
    return fcdd.datasets.load("fashion-mnist-small", "Trouser").test.images[:6]


@pytest.mark.parametrize("name", SCORES)
def test_files_of_older_versions_give_the_same_scores(images, name, tmp_path):
    detector = fcdd.load(MODELS / f"{name}.safetensors")
    X = samples(name, images)
    np.testing.assert_allclose(detector.anomaly_score(X), SCORES[name]["scores"], rtol=1e-5)
    assert detector.offset_ == SCORES[name]["offset"]
    detector.save(tmp_path / "again.safetensors")
    with safe_open(tmp_path / "again.safetensors", "np") as file:
        assert len(file.metadata()["sha256"]) == 64  # written as today
    np.testing.assert_array_equal(fcdd.load(tmp_path / "again.safetensors").anomaly_score(X), detector.anomaly_score(X))


# ---- what is refused ----


def parts(name):
    with safe_open(MODELS / f"{name}.safetensors", "np") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def changed(path, name="05e4f3a-fcdd", arrays=(), drop=(), **metadata):
    """A file with some of its arrays and metadata changed, as a foreign hand would write it, without a checksum."""
    held, tensors = parts(name)
    for part in ("parameters", "fitted"):
        if isinstance(metadata.get(part), dict):
            metadata[part] = json.dumps(json.loads(held[part]) | metadata[part])
    tensors = {key: value for key, value in (tensors | dict(arrays)).items() if key not in drop}
    save_file(tensors, path, metadata={k: v for k, v in (held | metadata).items() if v is not None})


class Runs:
    """What a pickle can do when it is read."""

    def __reduce__(self):
        return os.mkdir, (os.environ["FCDD_TEST_MARK"],)


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Runs()))
        file.writestr("../../outside.txt", "x")


AGAIN = "cannot be made again"
UNREADABLE = "is not a safetensors file or is cut short or changed"
HOSTILE = {
    "a pickle": (lambda p: p.write_bytes(pickle.dumps(Runs())), UNREADABLE),
    "a zip with a pickle": (zipped, UNREADABLE),
    "a file of torch.save": (lambda p: torch.save({"a": torch.zeros(2)}, p), UNREADABLE),
    "nothing": (lambda p: p.write_bytes(b""), UNREADABLE),
    "text": (lambda p: p.write_text("a model"), UNREADABLE),
    "a header longer than the file": (lambda p: p.write_bytes((2**40).to_bytes(8, "little") + b"{}"), UNREADABLE),
    "a newer version": (lambda p: changed(p, format="fcdd-2"), "newer version.*fcdd-2, this one reads fcdd-1"),
    "another library": (lambda p: changed(p, format="pt"), "was not written by this library"),
    "no metadata": (lambda p: save_file({"a": np.zeros(3)}, p), "was not written by this library"),
    "a class of Python": (lambda p: changed(p, **{"class": "Popen"}), "unknown detector 'Popen'; known: Autoencoder"),
    "a class with a path": (lambda p: changed(p, **{"class": "os.system"}), "unknown detector 'os.system'"),
    "no class": (lambda p: changed(p, **{"class": None}), UNREADABLE),
    "the class that all share": (lambda p: changed(p, **{"class": "DeepDetector"}), AGAIN),
    "metadata that are no JSON": (lambda p: changed(p, fitted="{"), UNREADABLE),
    "metadata that are a list": (lambda p: changed(p, parameters="[1, 2]"), UNREADABLE),
    "numbers for what was learnt": (lambda p: changed(p, fitted="7"), UNREADABLE),
    "parameters of no detector": (lambda p: changed(p, parameters={"shell": "rm"}), AGAIN),
    "parameters of another type": (lambda p: changed(p, parameters={"network": 7}), AGAIN),
    "a network of no name": (lambda p: changed(p, parameters={"network": "os.system"}), AGAIN),
    "sigma as text": (lambda p: changed(p, fitted={"resolved": {"sigma": "wide"}}), AGAIN),
    "a seed as a list": (lambda p: changed(p, parameters={"seed": [1]}), AGAIN),
    "an image of minus one pixel": (lambda p: changed(p, fitted={"image_shape": [1, -1, 28]}), AGAIN),
    "an image of two numbers": (lambda p: changed(p, fitted={"image_shape": [28, 28]}), AGAIN),
    "an image as text": (lambda p: changed(p, fitted={"image_shape": "large"}), AGAIN),
    "an image of another size": (lambda p: changed(p, "05e4f3a-deep-svdd", fitted={"image_shape": [1, 64, 64]}), AGAIN),
    "a threshold as text": (lambda p: changed(p, fitted={"offset": "high"}), AGAIN),
    "no threshold": (lambda p: changed(p, fitted={"offset": None}), AGAIN),
    "a calibration of something else": (lambda p: changed(p, fitted={"calibration": {"mean": 1}}), AGAIN),
    "a network without a layer": (lambda p: changed(p, drop=["network.0.weight"]), AGAIN),
    "weights of another shape": (lambda p: changed(p, arrays={"network.0.weight": np.zeros((2, 2))}), AGAIN),
    "a shift of another shape": (lambda p: changed(p, arrays={"shift": np.zeros((28, 28), np.float32)}), AGAIN),
    "a scale of three channels": (lambda p: changed(p, arrays={"scale": np.ones((3, 1, 1), np.float32)}), AGAIN),
    "a center of one number": (lambda p: changed(p, "05e4f3a-deep-svdd", {"center": np.zeros(1, np.float32)}), AGAIN),
    "no center": (lambda p: changed(p, "05e4f3a-deep-svdd", drop=["center"]), AGAIN),
    "a bank of another width": (lambda p: changed(p, "05e4f3a-patches", {"bank": np.ones((9, 3), np.float32)}), AGAIN),
    "a bank of numbers in a row": (lambda p: changed(p, "05e4f3a-patches", {"bank": np.ones(9, np.float32)}), AGAIN),
    "layers that are not there": (lambda p: changed(p, "05e4f3a-patches", parameters={"layers": [90]}), AGAIN),
    "a sphere of too few weights": (lambda p: changed(p, "05e4f3a-svdd", {"alpha_": np.ones(2)}), AGAIN),
    "a sphere whose method is a number": (lambda p: changed(p, "05e4f3a-svdd", fitted={"anomaly_score": 3}), AGAIN),
    "a kernel of no name": (lambda p: changed(p, "05e4f3a-svdd", parameters={"kernel": "eval"}), AGAIN),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_model_is_refused_and_runs_nothing(name, tmp_path, monkeypatch):
    mark = tmp_path / "it ran"
    monkeypatch.setenv("FCDD_TEST_MARK", str(mark))
    write, told = HOSTILE[name]
    path = tmp_path / "folder" / "m.safetensors"
    path.parent.mkdir()
    write(path)
    with pytest.raises(ValueError, match=f"m.safetensors (holds a|holds an)?.*{told}"):
        fcdd.load(path)
    assert not mark.exists() and [each.name for each in tmp_path.rglob("*")] == ["folder", "m.safetensors"]


@pytest.mark.parametrize("where", [0.3, 0.6, 0.999])
def test_one_changed_byte_is_found(images, tmp_path, where):
    path = tmp_path / "m.safetensors"
    fcdd.load(MODELS / "05e4f3a-fcdd.safetensors").save(path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its content has changed since it was written"):
        fcdd.load(path)


def test_a_pickle_that_poses_as_a_checkpoint_does_nothing(images, tmp_path, monkeypatch):
    mark = tmp_path / "it ran"
    monkeypatch.setenv("FCDD_TEST_MARK", str(mark))
    for write in (HOSTILE["a pickle"][0], HOSTILE["a zip with a pickle"][0], lambda p: torch.save({"key": Runs()}, p)):
        write(tmp_path / "c.pt")
        with pytest.raises(ValueError, match="c.pt is no checkpoint that can be read .*; delete it to begin anew"):
            fcdd.FCDD(network="fcdd_cnn28", epochs=1, device="cpu").fit(images, checkpoint=tmp_path / "c.pt")
    assert not mark.exists()


def test_a_changed_byte_in_a_checkpoint_is_found(images, tmp_path):
    """PyTorch reads over it: the training went on from other weights."""
    file = tmp_path / "c.pt"
    fcdd.FCDD(network="fcdd_cnn28", epochs=1, device="cpu").fit(images, checkpoint=file)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as whole:
        weights = max(whole.infolist(), key=lambda each: each.file_size)
    content[weights.header_offset + 200 + weights.file_size // 2] ^= 1
    file.write_bytes(content)
    assert torch.load(file, weights_only=True)
    with pytest.raises(ValueError, match="in it is damaged|Bad CRC"):
        fcdd.FCDD(network="fcdd_cnn28", epochs=2, device="cpu").fit(images, checkpoint=file)

"""Detectors to files and back: bit-equal scores, damaged and foreign files, ONNX without PyTorch."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.exceptions import NotFittedError
from torch import nn

import fcdd
from fcdd import networks, onnx
from fcdd.patches import PatchNeighbours

FITS = {
    "DeepSVDD": {"network": "mnist_lenet", "objective": "soft-boundary", "warmup_epochs": 0, "milestones": (1,)},
    "DeepSAD": {"network": "mnist_lenet", "pretrain_epochs": 1},
    "HSC": {"network": "hsc_cnn28", "normalisation": "standard", "exposure": "confetti"},
    "FCDD": {"network": "fcdd_cnn28", "sigma": None},
    "Autoencoder": {"network": "mnist_lenet"},
}


@pytest.fixture(scope="module")
def fitted(trousers):
    return {name: getattr(fcdd, name)(epochs=2, batch_size=16, device="cpu", **options).fit(trousers.train.images)
            for name, options in FITS.items()}  # fmt: skip


@pytest.fixture(params=list(FITS))
def detector(fitted, request):
    return fitted[request.param]


# ---- safetensors ----


def test_round_trip_is_bit_equal(detector, trousers, tmp_path):
    path = tmp_path / "model.safetensors"
    detector.save(path)
    twin = type(detector).load(path)
    for method in ("anomaly_score", "decision_function", "predict", "anomaly_map"):
        np.testing.assert_array_equal(
            getattr(twin, method)(trousers.test.images), getattr(detector, method)(trousers.test.images)
        )
    assert twin.get_params() == detector.get_params()
    for key in ("offset_", "history_", "image_shape_", "radius_", "output_shape_", "field_"):
        assert getattr(twin, key, None) == getattr(detector, key, None)
    assert type(fcdd.load(path)) is type(detector)


def test_a_loaded_detector_saves_to_the_same_file(detector, tmp_path):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    detector.save(first)
    fcdd.load(str(first)).save(str(second))
    assert_same(first, second)


def assert_same(first, second):
    """Two files hold the same; their bytes may differ, as the order of the metadata is open."""
    with safe_open(first, "pt") as one, safe_open(second, "pt") as two:
        assert one.metadata() == two.metadata() and set(one.keys()) == set(two.keys())
        assert all(torch.equal(one.get_tensor(key), two.get_tensor(key)) for key in one.keys())  # noqa: SIM118


def test_a_loaded_detector_can_be_fitted_again(detector, trousers, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    again = fcdd.load(tmp_path / "m.safetensors").fit(trousers.train.images)
    np.testing.assert_array_equal(
        again.anomaly_score(trousers.test.images), detector.anomaly_score(trousers.test.images)
    )


def test_exposure_that_is_no_name_is_left_out(trousers, tmp_path):
    bank = fcdd.exposure.photographs(1, (28, 28), count=20).numpy()
    detector = fcdd.FCDD(network="fcdd_cnn28", exposure=bank, epochs=1, batch_size=16).fit(trousers.train.images)
    detector.save(tmp_path / "m.safetensors")
    twin = fcdd.FCDD.load(tmp_path / "m.safetensors")
    assert twin.exposure is None
    np.testing.assert_array_equal(
        twin.anomaly_score(trousers.test.images), detector.anomaly_score(trousers.test.images)
    )


def test_numpy_numbers_as_parameters(trousers, tmp_path):
    detector = fcdd.FCDD(network="fcdd_cnn28", epochs=np.int64(1), seed=np.int64(3), nu=np.float32(0.5)).fit(
        trousers.train.images
    )
    detector.save(tmp_path / "m.safetensors")
    assert fcdd.FCDD.load(tmp_path / "m.safetensors").seed == 3


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at .*no.safetensors; expected a file written by save"):
        fcdd.FCDD.load(tmp_path / "no.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.999])
def test_truncated_file(fitted, tmp_path, keep):
    path = tmp_path / "m.safetensors"
    fitted["FCDD"].save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(ValueError, match="m.safetensors is not a safetensors file or is cut short"):
        fcdd.FCDD.load(path)


def test_a_file_that_is_no_safetensors(tmp_path):
    path = tmp_path / "m.safetensors"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        fcdd.FCDD.load(path)


@pytest.mark.parametrize("metadata, got", [(None, "None"), ({"format": "pt"}, "pt")])
def test_a_foreign_safetensors_file(tmp_path, metadata, got):
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(ValueError, match=f"was not written by this library .expected format fcdd-1, got {got}"):
        fcdd.FCDD.load(path)


def test_another_class(fitted, tmp_path):
    fitted["HSC"].save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="holds a HSC, expected a FCDD; call HSC.load"):
        fcdd.FCDD.load(tmp_path / "m.safetensors")


def test_a_module_cannot_be_saved(trousers, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 5, 4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    detector = fcdd.FCDD(network=network, epochs=1, batch_size=16).fit(trousers.train.images)
    with pytest.raises(ValueError, match="expected a network by name"):
        detector.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_made(fitted, tmp_path):
    fitted["FCDD"].save(tmp_path / "no" / "m.safetensors")
    assert fcdd.FCDD.load(tmp_path / "no" / "m.safetensors").offset_ == fitted["FCDD"].offset_


def test_metadata_can_be_read_without_this_library(fitted, tmp_path):
    fitted["FCDD"].save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        metadata = file.metadata()
    assert metadata["class"] == "FCDD" and json.loads(metadata["parameters"])["network"] == "fcdd_cnn28"
    assert json.loads(metadata["fitted"])["image_shape"] == [1, 28, 28]


# ---- ONNX ----


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    return pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def test_onnx_equals_pytorch(detector, trousers, tmp_path, runtime):
    path = tmp_path / "model.onnx"
    onnx.to_onnx(detector, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]  # weights inside
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        images = trousers.test.images[:count]
        outputs = session.run(None, {"images": images.numpy().astype(np.float32) / 255})
        np.testing.assert_allclose(outputs[0], detector.anomaly_score(images), rtol=1e-4, atol=1e-4)
        if isinstance(detector, fcdd.FCDD):
            np.testing.assert_allclose(outputs[1][:, 0], detector.anomaly_map(images), rtol=1e-4, atol=1e-4)
    names = [output.name for output in session.get_outputs()]
    assert names == (["score", "map"] if isinstance(detector, fcdd.FCDD) else ["score"])


def test_export_leaves_the_detector_as_it_was(fitted, trousers, tmp_path, runtime):
    detector = fitted["FCDD"]
    before = detector.anomaly_map(trousers.test.images)
    onnx.to_onnx(detector, tmp_path / "model.onnx")
    np.testing.assert_array_equal(detector.anomaly_map(trousers.test.images), before)


def test_without_the_extra(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'fcdd-book\[onnx\]'"):
        onnx.to_onnx(fitted["FCDD"], tmp_path / "model.onnx")


@pytest.mark.parametrize("options", [{}, {"kernel": "linear"}, {"kernel": "poly", "coef0": 1.0}, {"gamma": "median"}])
def test_svdd_round_trip(options, tmp_path):
    X = np.random.default_rng(0).random((60, 5))
    sphere = fcdd.SVDD(nu=0.2, **options).fit(X[:40])
    sphere.save(tmp_path / "s.safetensors")
    twin = fcdd.SVDD.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(twin.decision_function(X), sphere.decision_function(X))
    assert twin.get_params() == sphere.get_params() and twin.radius_ == sphere.radius_
    with pytest.raises(ValueError, match="holds a SVDD, expected a FCDD"):
        fcdd.FCDD.load(tmp_path / "s.safetensors")


def test_patch_memory_round_trip(trousers, tmp_path):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    memory = PatchNeighbours(network="fcdd_cnn28", layers=(2, 5), bank=300, sigma=1.0, device="cpu")
    with pytest.raises(NotFittedError):
        memory.save(first)
    memory.fit(trousers.train.images)
    memory.save(first)
    twin = PatchNeighbours.load(first)
    for method in ("anomaly_score", "decision_function", "predict", "anomaly_map"):
        np.testing.assert_array_equal(
            getattr(twin, method)(trousers.test.images), getattr(memory, method)(trousers.test.images)
        )
    assert twin.get_params() == memory.get_params() and twin.layers == (2, 5)
    twin.save(second)
    assert_same(first, second)
    again = twin.fit(trousers.train.images)
    np.testing.assert_array_equal(again.bank_, memory.bank_)
    with pytest.raises(ValueError, match="holds a PatchNeighbours, expected a FCDD; call PatchNeighbours.load"):
        fcdd.FCDD.load(first)


def test_svdd_with_a_kernel_of_ones_own_is_not_saved(tmp_path):
    sphere = fcdd.SVDD(kernel=lambda A, B: A @ B.T).fit(np.random.default_rng(0).random((20, 3)))
    with pytest.raises(ValueError, match="expected a kernel by name"):
        sphere.save(tmp_path / "s.safetensors")


# ---- what used to be lost between saving and loading ----


class Mine(fcdd.FCDD):
    """A detector of a user's own."""


def test_a_subclass_comes_back_as_itself(trousers, tmp_path):
    detector = Mine(network="fcdd_cnn28", epochs=1, batch_size=16, device="cpu").fit(trousers.train.images)
    detector.save(tmp_path / "m.safetensors")
    loaded = []
    for load in (Mine.load, fcdd.FCDD.load):
        try:
            loaded.append(load(tmp_path / "m.safetensors"))
        except ValueError as error:
            loaded.append(error)
    assert [type(each) for each in loaded] == [Mine, Mine]


def test_classes_left_out_as_a_set_are_saved(trousers, tmp_path):
    left_out = {"Bag", "Coat"}
    detector = fcdd.FCDD(network="fcdd_cnn28", exposure="fashion-mnist-small", exposure_without=left_out, epochs=1,
                         batch_size=16, device="cpu").fit(trousers.train.images)  # fmt: skip
    told = ""
    try:
        detector.save(tmp_path / "m.safetensors")
    except TypeError as error:
        told = str(error)
    assert told == "" and set(fcdd.FCDD.load(tmp_path / "m.safetensors").exposure_without) == left_out


def test_a_loaded_pretrained_model_fits_again_from_its_weights(tmp_path):
    """The file named in network_options is where a second fit starts, too; scoring does not need it any more."""
    source = networks.build("fcdd_squeezenet", 3)
    weights = tmp_path / "w.safetensors"
    save_file(
        {f"features.{key}": value for key, value in nn.Sequential(*list(source)[:11]).state_dict().items()}, weights
    )
    X = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    options = {"epochs": 1, "batch_size": 4, "exposure": "confetti", "device": "cpu"}
    detector = fcdd.FCDD(network="fcdd_squeezenet", network_options={"weights": str(weights)}, **options).fit(X)
    detector.save(tmp_path / "m.safetensors")
    loaded = fcdd.FCDD.load(tmp_path / "m.safetensors")
    again = loaded.fit(X)
    assert torch.equal(again.network_[0].weight, source[0].weight)
    np.testing.assert_array_equal(again.anomaly_score(X), detector.anomaly_score(X))
    weights.unlink()
    loaded = fcdd.FCDD.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.anomaly_score(X), detector.anomaly_score(X))
    with pytest.raises(FileNotFoundError, match=r"no weights at .*w\.safetensors"):
        loaded.fit(X)


def test_what_was_loaded_does_not_hang_on_the_file(fitted, trousers, tmp_path):
    path = tmp_path / "m.safetensors"
    fitted["FCDD"].save(path)
    loaded = fcdd.FCDD.load(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(
        loaded.anomaly_score(trousers.test.images), fitted["FCDD"].anomaly_score(trousers.test.images)
    )


def test_export_moves_a_copy(fitted, tmp_path, monkeypatch):
    """On a GPU the live network was left on the CPU, and the next score failed."""
    pytest.importorskip("onnxscript")
    moved, plain = [], nn.Module._apply
    monkeypatch.setattr(nn.Module, "_apply", lambda module, *rest: (moved.append(module), plain(module, *rest))[1])
    onnx.to_onnx(fitted["FCDD"], tmp_path / "m.onnx")
    live = list(fitted["FCDD"].network_.modules())
    assert not [module for module in moved if any(module is each for each in live)]


def test_export_before_fit_says_so(tmp_path):
    pytest.importorskip("onnxscript")
    raised = None
    try:
        onnx.to_onnx(fcdd.FCDD(), tmp_path / "m.onnx")
    except Exception as error:
        raised = type(error)
    assert raised is NotFittedError

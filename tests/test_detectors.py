"""The five deep detectors: scikit-learn's contract, what they learn, what they refuse."""

import copy
import inspect

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

import fcdd
from fcdd import objectives, receptive
from fcdd.detectors import away_from_zero, refuse_collapse
from fcdd.metrics import auroc

# Enough to learn that a boot is no other garment from 300 images in a second.
FAST = {
    "DeepSVDD": {"network": "mnist_lenet", "epochs": 5},
    "DeepSAD": {"network": "mnist_lenet", "epochs": 5, "pretrain_epochs": 1},
    "HSC": {"network": "hsc_cnn28", "epochs": 5, "batch_size": 32},
    "FCDD": {"network": "fcdd_cnn28", "epochs": 6, "batch_size": 32},
    "Autoencoder": {"network": "mnist_lenet", "epochs": 5, "batch_size": 32},
}
NAMES = list(FAST)
TINY = {"epochs": 1, "batch_size": 32}


def make(name, **options):
    return getattr(fcdd, name)(**{**FAST[name], "device": "cpu", **options})


@pytest.fixture(scope="module")
def fitted(boots):
    return {name: make(name).fit(boots.train.images) for name in NAMES}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def detector(fitted, name):
    return fitted[name]


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items()) and first.keys() == second.keys()


# ---- scikit-learn's contract ----


def test_constructor_only_stores(name):
    cls = getattr(fcdd, name)
    options = {key: object() for key in inspect.signature(cls).parameters}
    detector = cls(**options)
    assert all(getattr(detector, key) is value for key, value in options.items())
    assert vars(detector).keys() == options.keys()
    with pytest.raises(TypeError):
        cls("fmnist_lenet")  # keyword-only


def test_get_set_clone(detector):
    params = detector.get_params()
    assert (
        params["seed"] == 0 and {"network", "epochs", "batch_size", "learning_rate", "seed", "device"} <= params.keys()
    )
    twin = clone(detector)
    assert twin.get_params() == params and not hasattr(twin, "network_")
    assert twin.set_params(epochs=7, nu=0.3).epochs == 7
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        twin.set_params(depth=3)


def test_only_detectors_trained_with_outliers_know_exposure():
    known = {name for name in NAMES if "exposure" in getattr(fcdd, name)().get_params()}
    assert known == {"HSC", "FCDD"}


def test_fit_returns_the_detector_and_keeps_its_parameters(boots, name):
    detector = make(name, **TINY)
    before = detector.get_params()
    assert detector.fit(boots.train.images[:40]) is detector
    assert detector.get_params() == before


def test_not_fitted(boots, name):
    for method in ("score_samples", "predict", "anomaly_map", "decision_function", "anomaly_score"):
        with pytest.raises(NotFittedError):
            getattr(make(name), method)(boots.test.images)


def test_scores_decision_and_verdict_agree(detector, boots):
    scores = detector.anomaly_score(boots.test.images)
    assert scores.shape == (len(boots.test),) and scores.dtype == np.float32 and np.isfinite(scores).all()
    assert (scores >= 0).all()
    np.testing.assert_array_equal(detector.score_samples(boots.test.images), -scores)
    decision = detector.decision_function(boots.test.images)
    np.testing.assert_array_equal(decision, -scores - detector.offset_)
    np.testing.assert_array_equal(detector.predict(boots.test.images), np.where(decision >= 0, 1, -1))


@pytest.mark.parametrize("nu", [0.02, 0.5])
def test_a_share_nu_of_the_training_images_lies_outside(boots, name, nu):
    detector = make(name, nu=nu, **TINY).fit(boots.train.images)
    assert (detector.decision_function(boots.train.images) < 0).mean() == pytest.approx(nu, abs=0.01)


def test_default_share(detector, boots):
    assert (detector.predict(boots.train.images) < 0).mean() == pytest.approx(detector.nu, abs=0.01)


def test_history(detector):
    assert len(detector.history_) == detector.epochs and np.isfinite(detector.history_).all()
    assert detector.history_[-1] < detector.history_[0]


# ---- it learns ----


def test_learns_from_real_images(detector, boots):
    assert auroc(boots.test.anomalous, detector.anomaly_score(boots.test.images)) > 0.8


def test_fcdd_learns_another_class(trousers):
    detector = make("FCDD", epochs=15, batch_size=16).fit(trousers.train.images)
    assert auroc(trousers.test.anomalous, detector.anomaly_score(trousers.test.images)) > 0.8


def test_labelled_anomalies_help_deep_sad(boots):
    """With sneakers as labelled anomalies, sneakers score higher than without."""
    other = fcdd.datasets.load("fashion-mnist-small", "Sneaker")
    X = torch.cat([boots.train.images, other.train.images[:60]])
    y = torch.cat([torch.zeros(300), torch.full((60,), -1)])
    sneakers = boots.test.names == "Sneaker"
    wanted = sneakers | ~boots.test.anomalous
    with_labels = make("DeepSAD", learning_rate=1e-3).fit(X, y).anomaly_score(boots.test.images[wanted])
    without = make("DeepSAD", learning_rate=1e-3).fit(boots.train.images).anomaly_score(boots.test.images[wanted])
    assert auroc(sneakers[wanted], with_labels) > auroc(sneakers[wanted], without) + 0.02


@pytest.mark.parametrize("name", ["DeepSVDD", "Autoencoder"])
def test_what_cannot_learn_from_anomalies_leaves_them_out(boots, name):
    images, y = boots.train.images[:90], torch.tensor([0, 0, -1] * 30)
    with_them = make(name, **TINY).fit(images, y)
    without = make(name, **TINY).fit(images[y == 0])
    assert same(with_them.network_.state_dict(), without.network_.state_dict())
    assert with_them.offset_ == without.offset_


def test_labelled_anomalies_help_without_exposure(boots):
    other = fcdd.datasets.load("fashion-mnist-small", "Trouser")
    X = torch.cat([boots.train.images[:150], other.train.images[:150]])
    y = np.repeat([1, -1], 150)
    for name in ("HSC", "FCDD"):
        detector = make(name, exposure=None).fit(X, y)
        few = (boots.test.names == "Trouser") | ~boots.test.anomalous
        assert auroc(boots.test.anomalous[few], detector.anomaly_score(boots.test.images[few])) > 0.9


# ---- reproducible ----


def test_the_same_seed_gives_the_same_bits(boots, name):
    X, T = boots.train.images[:80], boots.test.images[:40]
    first, second = (make(name, **TINY).fit(X) for _ in range(2))
    assert same(first.network_.state_dict(), second.network_.state_dict())
    np.testing.assert_array_equal(first.anomaly_score(T), second.anomaly_score(T))
    assert first.history_ == second.history_ and first.offset_ == second.offset_
    other = make(name, seed=1, **TINY).fit(X)
    assert not np.array_equal(first.anomaly_score(T), other.anomaly_score(T))


def test_fitting_again_forgets_the_first_time(boots, name):
    X = boots.train.images[:80]
    detector = make(name, **TINY).fit(boots.train.images[100:200])
    detector.fit(X)
    assert same(detector.network_.state_dict(), make(name, **TINY).fit(X).network_.state_dict())


def test_a_network_given_as_module_is_not_changed(boots):
    """The constructor's network is a parameter: fit must train a copy, or fitting twice would go on training."""
    module = nn.Sequential(nn.Conv2d(1, 4, 5, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 24**2, 8, bias=False))
    before = copy.deepcopy(module.state_dict())
    detector = fcdd.DeepSVDD(network=module, device="cpu", **TINY)
    first = detector.fit(boots.train.images[:80]).anomaly_score(boots.test.images)
    assert same(before, module.state_dict())
    np.testing.assert_array_equal(first, detector.fit(boots.train.images[:80]).anomaly_score(boots.test.images))


def test_global_random_state_is_left_alone(boots, name):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(name, **TINY).fit(boots.train.images[:40])
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])
    torch.manual_seed(5)
    first = make(name, **TINY).fit(boots.train.images[:40]).offset_
    torch.manual_seed(6)
    assert make(name, **TINY).fit(boots.train.images[:40]).offset_ == first


# ---- input ----


def test_float_and_uint8_score_alike(detector, boots):
    scores = detector.anomaly_score(boots.test.images)
    for X in (boots.test.images.numpy(), boots.test.images.float() / 255, boots.test.images.numpy() / 255):
        np.testing.assert_allclose(detector.anomaly_score(X), scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("normalisation", ["lcn", "standard", "unit"])
@pytest.mark.parametrize("exposure", [None, "photographs", "confetti"])
def test_float_and_uint8_train_alike(boots, exposure, normalisation):
    """Outliers must be mixed in on the scale of the images, whatever that is."""
    X = boots.train.images[:100]
    options = {"exposure": exposure, "normalisation": normalisation, "exposure_limit": 50, **TINY}
    first, second = (make("FCDD", **options).fit(images).anomaly_score(X) for images in (X, X.float() / 255))
    np.testing.assert_allclose(first, second, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("name", ["DeepSVDD", "DeepSAD", "Autoencoder"])
def test_float_and_uint8_train_alike_without_outliers(boots, name):
    X = boots.train.images[:100]
    first, second = (make(name, **TINY).fit(images).anomaly_score(X) for images in (X, X.float() / 255))
    np.testing.assert_allclose(first, second, rtol=1e-4)


def test_scores_do_not_depend_on_the_company(detector, boots):
    together = detector.anomaly_score(boots.test.images)
    alone = np.concatenate([detector.anomaly_score(boots.test.images[k : k + 1]) for k in range(8)])
    np.testing.assert_allclose(alone, together[:8], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, network, shape", [
    ("FCDD", "fcdd_cnn32_s", (3, 32, 32)), ("HSC", "hsc_cnn32_s", (3, 32, 32)), ("FCDD", "fcdd_cnn28", (1, 24, 40)),
    ("DeepSVDD", "cifar10_lenet", (3, 32, 32)), ("Autoencoder", "cifar10_lenet", (3, 32, 32)),
])  # fmt: skip
def test_colour_and_other_sizes(name, network, shape):
    X = fcdd.exposure.photographs(shape[0], shape[1:], count=40)
    detector = make(name, network=network, **TINY).fit(X)
    assert detector.anomaly_map(X[:5]).shape == (5, *shape[1:])
    assert detector.anomaly_score(X[:5]).shape == (5,)


def test_maps(detector, boots):
    maps = detector.anomaly_map(boots.test.images)
    assert maps.shape == (len(boots.test), 28, 28) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and (maps >= 0).all()
    assert (maps.std((1, 2)) > 0).all()
    np.testing.assert_allclose(
        detector.anomaly_map(boots.test.images[:3].float() / 255), maps[:3], rtol=1e-2, atol=1e-4
    )


def test_map_of_fcdd_shows_where(fitted, boots):
    """A white square pasted on a boot raises the map there more than elsewhere."""
    images = boots.test.images[~boots.test.anomalous].clone()
    before = fitted["FCDD"].anomaly_map(images).mean(0)
    images[:, :, 2:9, 2:9] = torch.randint(0, 256, (7, 7), generator=torch.Generator().manual_seed(0)).byte()
    change = fitted["FCDD"].anomaly_map(images).mean(0) - before
    assert change[2:9, 2:9].mean() > 5 * abs(change[18:, 18:].mean())


def test_map_of_the_autoencoder_is_the_score(fitted, boots):
    detector = fitted["Autoencoder"]
    np.testing.assert_allclose(detector.anomaly_map(boots.test.images).mean((1, 2)),
                               detector.anomaly_score(boots.test.images), rtol=1e-4)  # fmt: skip


# ---- what follows from the objectives ----


def test_deep_sad_without_labels_is_deep_svdd(boots):
    X = boots.train.images[:100]
    options = {"epochs": 2, "pretrain_epochs": 1, "network": "mnist_lenet"}
    svdd, sad = make("DeepSVDD", **options).fit(X), make("DeepSAD", **options).fit(X)
    assert same(svdd.network_.state_dict(), sad.network_.state_dict())
    assert torch.equal(svdd.center_, sad.center_) and svdd.offset_ == sad.offset_ and svdd.radius_ == sad.radius_
    assert svdd.history_ == sad.history_


def test_fcdd_score_is_the_mean_of_its_map(fitted, boots):
    detector = fitted["FCDD"]
    assert detector.field_ == receptive.ReceptiveField(16, 4, 1.5)
    with torch.no_grad():
        outputs = detector.network_(detector.normalisation_(boots.test.images))
    low = objectives.pseudo_huber(outputs)
    np.testing.assert_allclose(detector.anomaly_score(boots.test.images), low.mean((1, 2, 3)), rtol=1e-4)
    expected = receptive.upsample(low, detector.field_, 28, 1.2)[:, 0]
    np.testing.assert_allclose(detector.anomaly_map(boots.test.images), expected, rtol=1e-3, atol=1e-5)


def test_center_is_away_from_zero(fitted):
    for name in ("DeepSVDD", "DeepSAD"):
        assert fitted[name].center_.shape == (32,) and (fitted[name].center_.abs() >= 0.1).all()
    moved = away_from_zero(torch.tensor([-2.0, -0.05, 0.0, 0.05, 0.1, 3.0]))
    torch.testing.assert_close(moved, torch.tensor([-2.0, -0.1, 0.1, 0.1, 0.1, 3.0]))


def test_radius_of_one_class_is_the_threshold(fitted, boots):
    for name in ("DeepSVDD", "DeepSAD"):
        detector = fitted[name]
        assert detector.radius_ > 0 and detector.radius_**2 == pytest.approx(-detector.offset_)
        outside = detector.anomaly_score(boots.train.images) > detector.radius_**2
        assert outside.mean() == pytest.approx(detector.nu, abs=0.01)


def test_soft_boundary(boots, monkeypatch):
    options = {"objective": "soft-boundary", "epochs": 6, "nu": 0.2, "batch_size": 50, "learning_rate": 1e-3}
    batches, after = [], fcdd.DeepSVDD._after_batch
    monkeypatch.setattr(
        fcdd.DeepSVDD,
        "_after_batch",
        lambda self, epoch, z: (batches.append(z.detach().clone()), after(self, epoch, z)),
    )
    moving = make("DeepSVDD", warmup_epochs=2, **options).fit(boots.train.images)
    assert isinstance(moving.radius_, float) and len(batches) == 6 * 6
    # R is the (1 - nu)-quantile of the distances of the last batch, as it was in training ...
    distances = (batches[-1] - moving.center_).norm(dim=1).double().numpy()
    assert moving.radius_ == pytest.approx(np.quantile(distances, 0.8), rel=1e-6)
    assert (distances > moving.radius_).sum() == 10
    # ... so the share outside of all training images is nu up to the sampling error of 50 images, twice the deviation.
    outside = (moving.anomaly_score(boots.train.images) > moving.radius_**2).mean()
    assert outside == pytest.approx(0.2, abs=2 * np.sqrt(0.2 * 0.8 / 50))
    monkeypatch.undo()
    resting = make("DeepSVDD", warmup_epochs=5, **options).fit(boots.train.images)
    # Before the radius moves it is 0, and the loss the one-class loss divided by nu.
    plain = make("DeepSVDD", learning_rate=1e-3, epochs=6, nu=0.2, batch_size=50).fit(boots.train.images)
    assert resting.history_[0] == pytest.approx(plain.history_[0] / 0.2, rel=0.05)
    assert resting.history_[:2] == moving.history_[:2] and resting.history_[3] != moving.history_[3]


def test_pretraining_changes_encoder_and_center(boots):
    X = boots.train.images[:100]
    plain, pretrained = (make("DeepSVDD", pretrain_epochs=k, **TINY).fit(X) for k in (0, 2))
    assert not torch.equal(plain.center_, pretrained.center_)
    assert plain.network_.state_dict().keys() == pretrained.network_.state_dict().keys()


def defective(images):
    """Every second image gets a bright square, with its mask."""
    X, masks = images.clone(), torch.zeros(len(images), 1, 28, 28)
    X[::2, :, 4:12, 4:12] = 255 - X[::2, :, 4:12, 4:12] // 2
    masks[::2, :, 4:12, 4:12] = 1
    return X, masks


def test_fcdd_with_masks_learns_where(boots, monkeypatch):
    called = []
    monkeypatch.setattr(objectives, "fcdd_pixelwise", lambda maps, masks, plain=objectives.fcdd_pixelwise: (
        called.append(masks.shape), plain(maps, masks))[1])  # fmt: skip
    monkeypatch.setattr(objectives, "fcdd", lambda *_: pytest.fail("the image loss was used"))
    X, masks = defective(boots.train.images[:200])
    y = np.where(np.arange(200) % 2 == 0, -1, 1)
    detector = make("FCDD", exposure=None, augmentation=False, epochs=8).fit(X, y, masks=masks)
    assert called and all(shape[1:] == (1, 28, 28) for shape in called)
    unseen, truth = defective(boots.test.images[~boots.test.anomalous])
    maps = detector.anomaly_map(unseen)
    assert fcdd.metrics.pixel_auroc(truth.numpy()[:, 0] > 0, maps) > 0.9


def test_pixelwise_training_without_masks(boots, monkeypatch):
    """Outliers count in every pixel, or where confetti changed them; the loss seen is the pixel-wise one."""
    seen = []
    original = objectives.fcdd_pixelwise
    monkeypatch.setattr(objectives, "fcdd_pixelwise", lambda maps, masks: seen.append(masks) or original(maps, masks))
    X, y = boots.train.images[:100], torch.tensor([0] * 96 + [-1] * 4)
    make("FCDD", objective="pixels", exposure="confetti", augmentation=False, **TINY).fit(X, y)
    share = torch.cat(seen).float().mean((1, 2, 3))
    assert set(share.tolist()) == {0.0, 1.0} and (share == 1).sum() > 20
    seen.clear()
    make("FCDD", exposure="confetti-masks", augmentation=False, **TINY).fit(X)
    share = torch.cat(seen).float().mean((1, 2, 3))
    assert (share == 0).any() and ((share > 0) & (share < 1)).sum() > 20


def test_masks_as_array_tensor_and_without_channel_train_alike(boots):
    X, masks = defective(boots.train.images[:60])
    offsets = {make("FCDD", **TINY).fit(X, masks=m).offset_ for m in (masks, masks.numpy() > 0, masks[:, 0])}
    assert len(offsets) == 1


def test_normalisation_comes_from_nominal_images_only(boots):
    X = boots.train.images[:60].clone()
    X[40:] = 255 * (torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0)) > 0.98)
    y = np.repeat([1, 0, -1], 20)
    for name, kind in (("DeepSAD", "standard"), ("FCDD", "lcn"), ("HSC", "standard")):
        detector = make(name, normalisation=kind, **TINY).fit(X, y)
        expected = fcdd.augment.fit_normalisation(X[:40], kind)
        assert torch.equal(detector.normalisation_.shift, expected.shift)
        assert torch.equal(detector.normalisation_.scale, expected.scale)


def test_threshold_comes_from_nominal_images_only(boots):
    X = torch.cat([boots.train.images[:60], boots.test.images[boots.test.anomalous][:60]])
    y = np.repeat([0, -1], 60)
    detector = make("DeepSAD", nu=0.1, **TINY).fit(X, y)
    assert (detector.predict(X[:60]) < 0).mean() == pytest.approx(0.1, abs=0.02)


def test_exposure_limit_reaches_the_source(boots):
    X = boots.train.images[:60]
    few, many = (make("FCDD", exposure_limit=k, **TINY).fit(X).offset_ for k in (1, None))
    assert few != many


# ---- collapse ----


def zero(fully_convolutional):
    """Two layers with all weights zero: no gradient ever leaves the origin."""
    last = (
        [nn.Conv2d(3, 1, 1, bias=False)]
        if fully_convolutional
        else [nn.Flatten(), nn.Linear(3 * 26**2, 16, bias=False)]
    )
    network = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), *last)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network


@pytest.mark.parametrize("name", ["DeepSVDD", "DeepSAD", "HSC", "FCDD"])
def test_collapse_is_refused(boots, name):
    detector = make(name, network=zero(name == "FCDD"), pretrain_epochs=0, **TINY) if name.startswith("Deep") else make(
        name, network=zero(name == "FCDD"), **TINY)  # fmt: skip
    with pytest.raises(
        RuntimeError, match=f"{name} collapsed: the scores of 60 training images have 1 distinct.*bias=False"
    ):
        detector.fit(boots.train.images[:60])


def test_blank_images_are_refused(name):
    with pytest.raises(RuntimeError, match=f"{name} collapsed: the scores of 20 training images have 1 distinct"):
        make(name, **TINY).fit(np.zeros((20, 1, 28, 28), np.uint8))


SCORES = np.random.default_rng(0).random(1000).astype(np.float32)


@pytest.mark.parametrize("scores, rounding", [
    (np.round(SCORES, 1), 0.0),  # few distinct values
    (1 + 1e-7 * SCORES, 0.0),  # all alike, but for the last digit
    (1e-14 * SCORES, 1e-13),  # all on the center, but for rounding
    (np.where(SCORES > 0.5, np.nan, SCORES), 0.0),
])  # fmt: skip
def test_signs_of_collapse(scores, rounding):
    with pytest.raises(RuntimeError, match="Net collapsed: the scores of 1000 training images"):
        refuse_collapse(scores, "Net", rounding)


def test_no_sign_of_collapse():
    for scores in (SCORES, SCORES * 1e-6, SCORES + 100, -SCORES, SCORES[:1]):
        refuse_collapse(scores, "Net", 1e-13)


@pytest.mark.parametrize("name", ["DeepSVDD", "DeepSAD"])
def test_a_bias_at_the_center_is_refused(boots, name):
    """Proposition 2 of the paper at its end: the last bias is the center, the weights have shrunk to nothing."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 8))
    nn.init.constant_(network[1].bias, 1.0)
    nn.init.uniform_(network[1].weight, 0, 2e-9)
    with pytest.raises(RuntimeError, match="collapsed"):
        make(name, network=network, pretrain_epochs=0, learning_rate=1e-12, **TINY).fit(boots.train.images)


# ---- the classifiers beside HSC ----


@pytest.mark.parametrize("options", [
    {"objective": "bce"}, {"objective": "focal"}, {"norm": "l1"}, {"norm": "l2"}, {"norm": "l2-squared"}
])  # fmt: skip
def test_variants_of_hsc_learn_and_survive_a_file(boots, tmp_path, options):
    detector = make("HSC", **{"optimizer": "adam", "learning_rate": 1e-3} | options).fit(boots.train.images)
    scores = detector.anomaly_score(boots.test.images)
    assert auroc(boots.test.anomalous, scores) > 0.8
    assert len(np.unique(scores)) > 0.95 * len(
        scores
    )  # ranked by distance or logit: no ties of a saturated probability
    detector.save(tmp_path / "hsc.safetensors")
    np.testing.assert_array_equal(fcdd.HSC.load(tmp_path / "hsc.safetensors").anomaly_score(boots.test.images), scores)
    assert detector.anomaly_map(boots.test.images[:3]).shape == (3, 28, 28)


def test_the_default_is_the_paper_s_hsc(boots):
    first = make("HSC", **TINY).fit(boots.train.images[:60])
    second = make("HSC", objective="hypersphere", norm="pseudo-huber", **TINY).fit(boots.train.images[:60])
    assert same(first.network_.state_dict(), second.network_.state_dict())


def test_network_options_reach_the_network(boots):
    detector = make("DeepSVDD", network_options={"bias": True}, **TINY).fit(boots.train.images[:60])
    assert any(key.endswith("bias") for key in detector.network_.state_dict())


# ---- bad input ----


@pytest.mark.parametrize("change, text", [
    (lambda X: X[:, 0], r"shape \(N, C, H, W\).*add the channel axis"),
    (lambda X: X.astype(np.int64), "uint8 or float.*torch.int64"),
    (lambda X: np.where(X > 200, np.nan, X / 255), "finite X, found NaN"),
    (lambda X: X.astype(np.float32), r"float X in \[0, 1\], got values from 0 to 255; divide by 255"),
    (lambda X: X[:0], "N ≥ 1"),
    (lambda X: X.tolist(), "array or tensor of numbers, got list"),
])  # fmt: skip
def test_bad_images(boots, detector, name, change, text):
    X = change(boots.train.images[:30].numpy())
    with pytest.raises(ValueError, match=text):
        make(name).fit(X)
    for method in ("anomaly_score", "anomaly_map", "predict"):
        with pytest.raises(ValueError, match=text):
            getattr(detector, method)(X)


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32)])
def test_images_unlike_those_of_fit(detector, shape):
    for method in ("anomaly_score", "anomaly_map", "predict"):
        with pytest.raises(ValueError, match=r"like the images of fit, 1 channels of \(28, 28\) px"):
            getattr(detector, method)(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("y, text", [
    (np.full(30, 2), r"labels \+1 \(nominal\).*got \[2\]"),
    (np.arange(30) > 5, "got True/False"),
    (np.full(30, -1), "at least one nominal"),
    (np.ones(29), r"one label for each of the 30 images, got y of shape \(29,\)"),
])  # fmt: skip
def test_bad_labels(boots, name, y, text):
    with pytest.raises(ValueError, match=text):
        make(name).fit(boots.train.images[:30], y)


def test_bad_masks(boots):
    X = boots.train.images[:30]
    with pytest.raises(ValueError, match=r"masks of shape \(30, 1, 28, 28\).*got \(30, 1, 14, 14\)"):
        make("FCDD").fit(X, masks=np.zeros((30, 1, 14, 14)))
    for name in ("DeepSVDD", "DeepSAD", "HSC", "Autoencoder"):
        with pytest.raises(ValueError, match=f"only FCDD learns from masks, {name} does not"):
            make(name).fit(X, masks=np.zeros((30, 1, 28, 28)))


@pytest.mark.parametrize("options, text", [
    ({"network": "resnet18"}, "unknown network 'resnet18'; known: cifar10_lenet"),
    ({"normalisation": "gcn"}, "unknown normalisation 'gcn'; known: lcn, standard, unit"),
    ({"optimizer": "lion"}, "unknown optimizer 'lion'; known: adam, sgd"),
    ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ({"nu": 0}, "0 < nu <= 1, got 0"),
    ({"nu": 1.5}, "0 < nu <= 1, got 1.5"),
    ({"epochs": 0}, "epochs >= 1"),
    ({"batch_size": 1}, "batch_size >= 2"),
    ({"learning_rate": -1.0}, "learning_rate > 0"),
])  # fmt: skip
def test_bad_parameters(boots, name, options, text):
    with pytest.raises(ValueError, match=text):
        make(name, **options).fit(boots.train.images[:30])


@pytest.mark.parametrize("name, options, text", [
    ("DeepSVDD", {"objective": "hard"}, "unknown objective 'hard'; known: one-class, soft-boundary"),
    ("FCDD", {"network": "fmnist_lenet"}, "fully convolutional network, found a Flatten layer.*use one of the fcdd_"),
    ("FCDD", {"network": "hsc_cnn28"}, "fully convolutional network, found a Flatten layer"),
    ("FCDD", {"network": nn.Conv2d(1, 4, 3)}, r"output is a map \(1, u, v\), got \(4, 26, 26\)"),
    ("FCDD", {"exposure": "no-such"}, "unknown exposure 'no-such'"),
    ("HSC", {"exposure": "no-such"}, "unknown exposure 'no-such'"),
    ("HSC", {"exposure": 7}, "exposure to be an array"),
    ("FCDD", {"exposure_limit": 0}, "limit"),
    ("FCDD", {"network": nn.Conv2d(1, 1, 1, padding=3)}, r"map no larger than the images of \(28, 28\) px.*\(34, 34\)"),
    ("FCDD", {"objective": "map"}, "unknown objective 'map'; known: image, pixels"),
    ("HSC", {"objective": "svm"}, "unknown objective 'svm'; known: hypersphere, bce, focal"),
    ("HSC", {"norm": "l3"}, "unknown norm 'l3'; known: l1, l2, l2-squared, pseudo-huber"),
    ("FCDD", {"sigma": -1.0}, "sigma"),
    ("FCDD", {"sigma": 0.0}, "sigma"),

    ("DeepSVDD", {"network": "fcdd_cnn28"}, "vector|dense|lenet"),
    ("DeepSVDD", {"network": "fcdd_cnn28", "pretrain_epochs": 1}, "vector|dense|lenet"),
    ("DeepSAD", {"network": "fcdd_cnn28"}, "vector|dense|lenet"),
    ("HSC", {"network": "fcdd_cnn28"}, "vector|dense|lenet"),
    ("Autoencoder", {"network": "fcdd_cnn28"}, "vector|dense|lenet"),
])  # fmt: skip
def test_bad_parameters_of_some(boots, name, options, text):
    with pytest.raises(ValueError, match=text):
        make(name, **options).fit(boots.train.images[:30])


@pytest.mark.parametrize("name, size", [("DeepSVDD", 16), ("Autoencoder", 20), ("FCDD", 3), ("HSC", 2)])
def test_images_too_small(name, size):
    with pytest.raises(ValueError, match=f"the network can take, got 1 channels of {size}×{size} px"):
        make(name).fit(np.random.default_rng(0).integers(0, 256, (20, 1, size, size), dtype=np.uint8))


# ---- what used to go wrong in silence ----


def test_an_unlabelled_image_whose_mask_marks_something_is_anomalous(boots):
    X, masks = defective(boots.train.images[:60])
    options = {"network": "fcdd_cnn28", "epochs": 2, "batch_size": 32, "exposure": None, "device": "cpu"}
    told = np.where(masks.flatten(1).any(1), -1, 0)
    marked, labelled = fcdd.FCDD(**options).fit(X, masks=masks), fcdd.FCDD(**options).fit(X, told, masks=masks)
    np.testing.assert_array_equal(marked.anomaly_score(X), labelled.anomaly_score(X))
    assert marked.offset_ == labelled.offset_
    with pytest.raises(ValueError, match="blank masks for nominal images .*found 30 that mark pixels"):
        fcdd.FCDD(**options).fit(X, np.ones(60), masks=masks)
    with pytest.raises(ValueError, match="at least one image without a defect"):
        fcdd.FCDD(**options).fit(X, masks=np.ones_like(masks))


@pytest.mark.parametrize("name", ["FCDD", "DeepSVDD", "HSC"])
def test_repeated_images_are_no_collapse(boots, name):
    """A fixed camera: 8 pictures, over and over. Their scores have 8 values by right."""
    X = boots.train.images[:8][np.arange(100) % 8]
    detector, told = make(name, **TINY), ""
    try:
        detector.fit(X)
    except RuntimeError as error:
        told = str(error)
    assert told == "" and len(np.unique(detector.anomaly_score(X))) >= 8


def test_scoring_goes_by_the_batch_size(boots, monkeypatch):
    """At 224 px 512 images at a time took 13 GB."""
    detector, seen = make("FCDD", **TINY | {"batch_size": 7}).fit(boots.train.images[:30]), []
    detector.network_.register_forward_pre_hook(lambda network, inputs: seen.append(len(inputs[0])))
    detector.anomaly_score(boots.test.images[:20])
    detector.anomaly_map(boots.test.images[:20])
    make_gradient = make("HSC", **TINY | {"batch_size": 7}).fit(boots.train.images[:30])
    make_gradient.network_.register_forward_pre_hook(lambda network, inputs: seen.append(len(inputs[0])))
    make_gradient.anomaly_map(boots.test.images[:20])
    assert max(seen) <= 7


def test_a_radius_that_would_never_move_is_refused(boots):
    told = ""
    try:
        fcdd.DeepSVDD(objective="soft-boundary", epochs=5, device="cpu").fit(boots.train.images[:40])
    except ValueError as error:
        told = str(error)
    assert "expected warmup_epochs below epochs, got 5 and 5" in told


def test_dropout_neither_uses_nor_moves_the_global_generator(boots):
    network = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 8, 5, 4, bias=False), torch.nn.LeakyReLU(), torch.nn.Dropout(0.5)),
        *(torch.nn.Flatten(), torch.nn.Linear(8 * 36, 8, bias=False)),
    )
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        detector = fcdd.DeepSVDD(network=network, epochs=2, batch_size=16, device="cpu").fit(boots.train.images[:48])
        assert torch.equal(torch.get_rng_state(), before)
        scores.append(detector.anomaly_score(boots.test.images))
    np.testing.assert_array_equal(*scores)


def test_cudnn_stays_on_and_is_told_to_be_deterministic_while_training(boots):
    seen = []

    class Asks(torch.nn.Flatten):
        def forward(self, x):
            flags = torch.backends.cudnn
            seen.append((self.training, flags.enabled, flags.deterministic, flags.benchmark))
            return super().forward(x)

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 5, 4, bias=False), torch.nn.LeakyReLU(), Asks())
    fcdd.DeepSVDD(network=network, epochs=1, batch_size=16, device="cpu").fit(boots.train.images[:48])
    assert {flags for training, *flags in seen if training for flags in [tuple(flags)]} == {(True, True, False)}
    assert not torch.backends.cudnn.deterministic

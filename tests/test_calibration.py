"""Thresholds that keep their word: split conformal, its bounds, groups, folds; and what fit does with them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.exceptions import NotFittedError

import fcdd
from fcdd import calibration
from fcdd.patches import PatchNeighbours

TINY = {"epochs": 1, "batch_size": 32, "device": "cpu"}
DETECTORS = {
    "SVDD": {},
    "DeepSVDD": TINY,
    "DeepSAD": TINY,
    "HSC": {"network": "hsc_cnn28", **TINY},
    "FCDD": {"network": "fcdd_cnn28", **TINY},
    "Autoencoder": TINY,
}


def make(name, **options):
    return getattr(fcdd, name)(**DETECTORS[name] | options)


@given(st.integers(1, 400), st.floats(0.004, 0.6))
def test_the_mean_rate_is_kept_and_no_smaller_rank_would(n, fpr):
    """With continuous scores the rank of a new one among n + 1 is uniform: that is the whole proof, counted out."""
    if calibration.rank(n, fpr) > n:
        with pytest.raises(ValueError, match=f"smallest rate that {n} can keep is {1 / (n + 1):.3g}"):
            calibration.calibrate(np.arange(n), fpr)
        return
    found = calibration.calibrate(np.random.default_rng(n).permutation(n), fpr)
    above = sum(place > found.threshold for place in np.arange(n + 1) - 0.5)  # a new score in each of the n + 1 gaps
    assert above / (n + 1) == pytest.approx(found.rate) and found.rate <= fpr + 1e-9
    assert (above + 1) / (n + 1) > fpr - 1e-9  # one rank lower, and it is no longer kept


@pytest.mark.parametrize("n, low, high", [(19, 0.0013, 0.1765), (100, 0.0164, 0.0993)])
def test_bounds_of_one_detector(n, low, high):
    """Its own rate is beta distributed: against a simulation of calibrations, and the figures that the page tells."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(4000):
        found = calibration.calibrate(rng.random(n), 0.05)
        rates.append(1 - found.threshold)  # of uniform scores the share above is known
    assert np.mean(rates) == pytest.approx(0.05, abs=0.003)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)
    outside = np.mean((np.array(rates) < found.low) | (np.array(rates) > found.high))
    assert outside == pytest.approx(0.05, abs=0.015)


def test_groups_are_the_unit_where_images_are_alike():
    """Sheets with a level of their own: by images a new sheet breaks the promise, by groups it holds."""
    rng = np.random.default_rng(1)
    rates = {"images": [], "groups": []}
    for _ in range(600):
        sheets = rng.normal(size=41)
        scores = sheets[:, None] + 0.1 * rng.normal(size=(41, 5))
        groups, own = np.repeat(np.arange(40), 5), scores[:40].ravel()
        for what, labels in (("images", None), ("groups", groups)):
            rates[what].append((scores[40] > calibration.calibrate(own, 0.05, labels).threshold).mean())
    assert np.mean(rates["groups"]) == pytest.approx(0.045, abs=0.02)
    found = calibration.calibrate(own, 0.05, groups)
    assert found.groups == 40 and math.isnan(found.low) and "a new group (40 groups)" in str(found)


def test_groups_of_one_image_each_are_images():
    scores = np.random.default_rng(2).random(57)
    for fpr in (0.02, 0.05, 0.3):
        assert (
            calibration.calibrate(scores, fpr, np.arange(57)).threshold == calibration.calibrate(scores, fpr).threshold
        )


def test_a_group_weighs_the_same_however_large():
    """Ninety images of one bright sheet must not outvote nineteen sheets of one image."""
    scores = np.r_[np.arange(19.0), np.full(90, 100.0)]
    groups = np.r_[np.arange(19), np.full(90, 19)]
    assert calibration.calibrate(scores, 0.1, groups).threshold == 18
    assert calibration.calibrate(scores, 0.1).threshold == 100


@pytest.mark.parametrize("call, text", [
    (lambda: calibration.calibrate(np.arange(18), 0.05), "rate of 0.05 with 18 good images: expected at least 19"),
    (lambda: calibration.calibrate(np.arange(40), 0.05, np.arange(40) // 8), "with 5 groups of good images: .* 0.167"),
    (lambda: calibration.calibrate([1.0, np.nan] * 20), "expected finite scores, got 20 others of 40"),
    (lambda: calibration.calibrate(np.arange(40), 0), "between 0 and 1, got 0"),
    (lambda: calibration.calibrate(np.arange(40), 0.1, ["a"]), "one group for each of the 40 images, got 1"),
    (lambda: calibration.parts(np.ones(3), 0, count=5), "at least 5 good images to divide into parts, got 3"),
    (lambda: calibration.parts(np.ones(9), 0, ["a"] * 9, share=0.2), "at least 2 groups of good images .* got 1"),
    (lambda: calibration.parts(np.ones(9), 0, share=1.5), "a share held out between 0 and 1, got 1.5"),
])  # fmt: skip
def test_what_cannot_be_kept_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_calibrates(name, boots):
    detector = make(name).fit(boots.train.images[:200])
    assert not hasattr(detector, "calibration_")
    good = boots.train.images[200:]
    assert detector.calibrate(good, fpr=0.1) is detector
    scores = np.sort(detector.anomaly_score(good))
    assert -detector.offset_ == scores[calibration.rank(100, 0.1) - 1] == detector.calibration_.threshold
    assert (detector.predict(good) == -1).sum() == 100 - calibration.rank(100, 0.1)
    with pytest.raises(NotFittedError):
        make(name).calibrate(good)


@pytest.mark.parametrize("name", ["SVDD", "DeepSVDD", "FCDD"])
def test_held_out_images_are_not_learnt_from(name, boots, tmp_path):
    """The same network as that of the rest alone, and a threshold from what was set aside; files keep the promise."""
    X, y = boots.train.images[:150], torch.zeros(150)
    y[::15] = -1
    (out,) = calibration.parts(y.numpy() >= 0, 3, share=0.2)
    detector = make(name, seed=3, nu=0.1).fit(X, y, held_out=0.2)
    assert out.sum() == 28 == detector.calibration_.images and not (y[out] < 0).any()
    alone = make(name, seed=3, nu=0.1).fit(X[~out], y[~out]).calibrate(X[out], fpr=0.1)
    np.testing.assert_array_equal(detector.anomaly_score(X), alone.anomaly_score(X))
    assert detector.offset_ == alone.offset_ and detector.calibration_ == alone.calibration_
    detector.save(tmp_path / "m.safetensors")
    assert type(detector).load(tmp_path / "m.safetensors").calibration_ == detector.calibration_


def test_groups_stay_on_one_side(boots):
    groups = np.arange(120) // 6
    (out,) = calibration.parts(np.ones(120), 0, groups, share=0.25)
    assert out.sum() == 30 and len(set(groups[out])) == 5 and not set(groups[out]) & set(groups[~out])
    parts = calibration.parts(np.ones(120), 0, groups, count=4)
    assert (np.sum(parts, axis=0) == 1).all() and all(len(set(groups[part])) == 5 for part in parts)


def test_groups_go_with_their_images_where_labelled_anomalies_are_left_out(boots):
    X, y, groups = boots.train.images[:130], torch.zeros(130), np.arange(130) // 5
    y[::13] = -1
    detector = make("DeepSVDD", seed=1).fit(X, y, held_out=0.5, groups=groups)
    good = y.numpy() >= 0
    (out,) = calibration.parts(good[good], 1, groups[good], share=0.5)
    assert detector.calibration_.images == out.sum() and detector.calibration_.groups == 13


def test_a_second_fit_drops_the_promise_of_the_first(boots):
    detector = fcdd.SVDD().fit(boots.train.images[:60], held_out=0.3)
    assert detector.calibration_.images == 18
    assert not hasattr(detector.fit(boots.train.images[:60]), "calibration_")


def test_folds_score_what_their_model_has_not_seen(boots):
    """All images are learnt from; the threshold comes from models that each left a part out."""
    X = boots.train.images[:60]
    detector = fcdd.SVDD(nu=0.1).fit(X, folds=5)
    np.testing.assert_array_equal(detector.alpha_, fcdd.SVDD(nu=0.1).fit(X).alpha_)
    scores = np.empty(60)
    for part in calibration.parts(np.ones(60), 0, count=5):
        scores[part] = fcdd.SVDD(nu=0.1).fit(X[~part]).anomaly_score(X[part])
    assert -detector.offset_ == calibration.calibrate(scores, 0.1).threshold
    assert detector.calibration_.folds == 5 and "nothing is guaranteed" in str(detector.calibration_)


def test_too_few_images_are_told_before_training(boots):
    with pytest.raises(ValueError, match="no threshold keeps a rate of 0.01 with 20 good images"):
        make("FCDD", epochs=10**6, nu=0.01).fit(boots.train.images[:100], held_out=0.2)
    with pytest.raises(ValueError, match="held_out or folds, got both"):
        make("FCDD").fit(boots.train.images[:100], held_out=0.2, folds=4)


def test_patches_hold_a_fifth_out_and_wait_without(boots):
    X = boots.train.images[:60].expand(-1, 3, -1, -1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    options = {"network": network, "layers": (1,), "bank": 50, "device": "cpu"}
    assert PatchNeighbours(**options).fit(X).calibration_.images == 12
    assert PatchNeighbours(**options).fit(X[:12]).calibration_.folds == 4
    with pytest.warns(UserWarning, match="5 good images cannot keep a rate of 0.1, the smallest is 0.167"):
        assert (PatchNeighbours(**options).fit(X[:5]).predict(X) == 1).all()
    waiting = PatchNeighbours(**options).fit(X, held_out=0)
    assert (waiting.predict(X) == 1).all() and waiting.calibrate(X[:30]).calibration_.images == 30


def test_the_rate_that_training_images_promise_is_not_kept(boots):
    """Why there is a calibration: more than ``nu`` of new good images lie outside what training images set."""
    whole = fcdd.datasets.load("fashion-mnist-small", "Ankle boot")
    learnt, new = whole.train.images[:150], whole.train.images[150:]
    rates = {}
    for what, options in (("training", {}), ("held out", {"held_out": 0.3})):
        detector = fcdd.DeepSVDD(epochs=20, nu=0.05, device="cpu").fit(learnt, **options)
        rates[what] = (detector.predict(new) == -1).mean()
    assert rates["training"] > 0.15
    # One detector's own rate lies anywhere in the beta distribution of its calibration.
    k = calibration.rank(45, 0.05)
    assert stats.beta(46 - k, k).ppf(0.001) < rates["held out"] < stats.beta(46 - k, k).ppf(0.999)


def test_one_image_alone_is_said_to_be_one():
    with pytest.warns(UserWarning, match="one image or group alone cannot be set aside"):
        assert calibration.choose(1, 0.5) == {}

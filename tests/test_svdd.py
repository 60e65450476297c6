"""SVDD: its dual, its geometry, its identities with the one-class SVM, its input."""

import gzip
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import parametrize_with_checks

import fcdd.svdd
from fcdd.svdd import SVDD

FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 4)) @ np.diag([1, 2, 0.5, 1]) + 3


def fashion(count):
    if not FASHION.exists():
        pytest.skip(f"needs Fashion-MNIST in {FASHION}")
    images = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    images = images.reshape(-1, 1, 28, 28)
    return images[labels == 0][:count], images[labels == 6][:count]


def kkt_violation(model, K, C):
    """Largest violation of the conditions, computed from K alone."""
    a = model.alpha_
    squared = K.diagonal() - 2 * K @ a + a @ K @ a
    R2 = model.radius_**2
    return max(np.max(squared[a < C] - R2, initial=0), np.max(R2 - squared[a > 0], initial=0))


# ---- identities ----


@pytest.mark.parametrize("nu", [0.05, 0.1, 0.37, 0.8])
def test_rbf_is_the_one_class_svm(X, nu):
    model = SVDD(nu=nu, tol=1e-9).fit(X)
    other = OneClassSVM(nu=nu, gamma="scale", tol=1e-9).fit(X)
    total = nu * len(X)
    alpha = np.zeros(len(X))
    alpha[other.support_] = other.dual_coef_[0] / total
    np.testing.assert_allclose(model.alpha_, alpha, atol=1e-6)
    queries = np.random.default_rng(1).normal(size=(200, 4)) * 3 + 3
    scores = model.score_samples(queries)
    K = rbf_kernel(X, gamma=model.gamma_)
    norm = alpha @ K @ alpha
    np.testing.assert_allclose(scores, 2 * other.score_samples(queries) / total - 1 - norm, atol=1e-6)
    assert model.radius_**2 == pytest.approx(1 + 2 * other.intercept_[0] / total + norm, abs=1e-6)
    anomalous = np.linalg.norm(queries - 3, axis=1) > 5
    assert roc_auc_score(anomalous, -scores) == pytest.approx(
        roc_auc_score(anomalous, -other.score_samples(queries)), abs=1e-6
    )


def test_fashion_mnist_matches_the_one_class_svm():
    nominal, other_class = fashion(1500)
    model = SVDD(nu=0.1, tol=1e-7).fit(nominal)
    flat = nominal.reshape(len(nominal), -1) / 255
    other = OneClassSVM(nu=0.1, gamma="scale", tol=1e-6).fit(flat)
    alpha = other.dual_coef_[0] / other.dual_coef_.sum()
    K = rbf_kernel(other.support_vectors_, gamma=model.gamma_)
    assert model.dual_value_ == pytest.approx(1 - alpha @ K @ alpha, rel=1e-6)
    queries = np.concatenate([nominal, other_class])
    anomalous = np.arange(len(queries)) >= len(nominal)
    assert roc_auc_score(anomalous, model.anomaly_score(queries)) == pytest.approx(
        roc_auc_score(anomalous, -other.score_samples(queries.reshape(len(queries), -1) / 255)), abs=1e-6
    )


@pytest.mark.parametrize("cache_mb, working_set", [(1000, 256), (0.01, 20)])
@pytest.mark.parametrize("kernel, options", [("rbf", {}), ("linear", {}), ("poly", {"degree": 2, "coef0": 1.0})])
@pytest.mark.parametrize("C", [0.01, 0.033, 1.0])
def test_kkt_conditions(X, kernel, options, C, cache_mb, working_set, monkeypatch):
    monkeypatch.setattr(fcdd.svdd, "WORKING_SET", working_set)  # 20: many working sets, rows given up and recomputed
    model = SVDD(kernel=kernel, C=C, cache_mb=cache_mb, tol=1e-8, **options).fit(X)
    K = {
        "rbf": lambda: rbf_kernel(X, gamma=model.gamma_),
        "linear": lambda: (X - 3) @ (X - 3).T,
        "poly": lambda: polynomial_kernel(X, gamma=model.gamma_, **options),
    }[kernel]()
    assert model.alpha_.sum() == pytest.approx(1, abs=1e-10)
    assert (model.alpha_ >= 0).all() and (model.alpha_ <= C).all()
    assert model.kkt_gap_ <= 1e-8
    assert kkt_violation(model, K, C) <= 2e-8 * model.dual_value_ + 1e-11 * K.max()
    assert model.leave_one_out_bound_ == len(model.support_) / len(X)


def test_dual_against_a_general_solver():
    X = np.random.default_rng(3).normal(size=(25, 2))
    K = rbf_kernel(X, gamma=0.7)
    result = minimize(
        lambda a: a @ K @ a,
        np.full(25, 1 / 25),
        jac=lambda a: 2 * K @ a,
        bounds=[(0, 0.1)] * 25,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert SVDD(C=0.1, gamma=0.7, tol=1e-9).fit(X).dual_value_ == pytest.approx(1 - result.fun, rel=1e-6)


@pytest.mark.parametrize("nu", [0.02, 0.1, 0.333, 0.75, 1.0])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_nu_property(X, nu, kernel):
    model = SVDD(kernel=kernel, nu=nu).fit(X)
    assert (model.decision_function(X) < 0).mean() <= nu + 1e-12
    assert model.leave_one_out_bound_ >= nu - 1e-12


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
@pytest.mark.parametrize("C", [1.0, 5, np.inf])
def test_hard_margin_encloses_everything(X, kernel, C):
    assert (SVDD(kernel=kernel, C=C).fit(X).predict(X) == 1).all()


def smallest_circle(points):
    """Brute force: the smallest circle through two or three points that encloses all."""
    best = np.inf, None
    for size in (2, 3):
        for chosen in combinations(points, size):
            P = np.array(chosen)
            A = 2 * (P[1:] - P[0])
            center = P[0] + np.linalg.lstsq(A, (A * A).sum(1) / 4, rcond=None)[0]
            radius = np.linalg.norm(points - center, axis=1).max()
            best = min(best, (radius, tuple(center)))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_linear_hard_margin_is_the_smallest_enclosing_ball(seed):
    points = np.random.default_rng(seed).normal(size=(15, 2)) + 100
    model = SVDD(kernel="linear", C=1.0, tol=1e-10).fit(points)
    radius, center = smallest_circle(points)
    assert model.radius_ == pytest.approx(radius, rel=1e-7)
    np.testing.assert_allclose(model.center_, center, atol=1e-4)
    np.testing.assert_allclose(model.center_, model.alpha_ @ points)
    np.testing.assert_allclose(model.anomaly_score(points), ((points - model.center_) ** 2).sum(1))


def test_radius_without_unbounded_support_vectors():
    line = np.array([[-3.0], [-1.0], [0.0], [1.0], [3.0]])
    model = SVDD(kernel="linear", C=0.5).fit(line)  # both ends at C, center 0: any R in [1, 3] is optimal
    assert model.radius_ == pytest.approx(1) and set(model.support_) == {0, 4}
    everything = SVDD(kernel="linear", nu=1.0).fit(line)  # all at C: the nearest sample's distance
    assert everything.radius_ == pytest.approx(0, abs=1e-5) and len(everything.support_) == 5


# ---- kernels and widths ----


def test_precomputed_and_callable_equal_the_built_in(X):
    built_in = SVDD(gamma=0.3, tol=1e-9).fit(X)
    called = SVDD(kernel=lambda A, B: rbf_kernel(A, B, gamma=0.3), tol=1e-9).fit(X)
    given_ = SVDD(kernel="precomputed", tol=1e-9).fit(rbf_kernel(X, gamma=0.3))
    queries = X[:50] + 0.5
    for model, Z in ((called, queries), (given_, rbf_kernel(queries, X, gamma=0.3))):
        np.testing.assert_allclose(model.alpha_, built_in.alpha_, atol=1e-7)
        np.testing.assert_allclose(model.score_samples(Z), built_in.score_samples(queries), atol=1e-7)
        assert model.radius_ == pytest.approx(built_in.radius_)
    poly = SVDD(kernel="poly", gamma=0.1, coef0=1.0, degree=2).fit(X)
    called = SVDD(kernel=lambda A, B: (0.1 * A @ B.T + 1) ** 2).fit(X)
    np.testing.assert_allclose(poly.score_samples(queries), called.score_samples(queries), rtol=1e-6)
    assert poly.center_ is None and built_in.gamma_ == 0.3 and called.gamma_ is None


def test_width_conventions_and_rules(X):
    assert SVDD(width=2.0).fit(X).gamma_ == pytest.approx(0.25)  # Tax & Duin's s
    assert SVDD(width=np.sqrt(2) * 3.0).fit(X).gamma_ == pytest.approx(1 / (2 * 3.0**2))  # sigma = 3
    distances = pairwise_distances(X)
    assert SVDD().fit(X).gamma_ == pytest.approx(1 / (4 * X.var()))
    median = np.median(distances[np.triu_indices(300, 1)])
    assert SVDD(gamma="median").fit(X).gamma_ == pytest.approx(1 / median**2)
    nearest = (distances + np.diag(np.full(300, np.inf))).min(1).mean()
    assert SVDD(gamma="nearest").fit(X).gamma_ == pytest.approx(1 / nearest**2)
    for rule in fcdd.svdd.GAMMA_RULES:
        assert SVDD(gamma=rule).fit(np.ones((5, 2))).gamma_ == 1
        assert SVDD(gamma=rule, nu=1.0).fit(np.ones((1, 2))).gamma_ == 1


def test_rejection_rule_meets_the_target(X):
    width = 1 / np.sqrt(SVDD(gamma="rejection", nu=0.15).fit(X).gamma_)
    assert SVDD(C=1.0, width=width, tol=1e-3).fit(X).leave_one_out_bound_ <= 0.15
    assert SVDD(C=1.0, width=0.8 * width, tol=1e-3).fit(X).leave_one_out_bound_ > 0.15
    with pytest.warns(UserWarning, match="raise nu"):
        SVDD(gamma="rejection", nu=0.01).fit(X[:20])


# ---- labelled anomalies ----


@pytest.mark.parametrize("kernel, C_negative", [("rbf", np.inf), ("rbf", 10.0), ("linear", np.inf)])
def test_labelled_anomalies_lie_outside(kernel, C_negative):
    rng = np.random.default_rng(0)
    nominal = rng.normal(size=(80, 2))
    negative = np.array([[0.9, 0.0], [1.0, 0.4], [1.1, -0.3], [4.0, 4.0]])
    X, y = np.vstack([nominal, negative]), np.r_[np.ones(70), np.zeros(10), -np.ones(4)]
    unaware, model = SVDD(kernel=kernel).fit(nominal), SVDD(kernel=kernel, C_negative=C_negative, tol=1e-7).fit(X, y)
    assert (unaware.predict(negative) == 1).sum() >= 2  # the labels are needed
    assert (model.decision_function(negative) <= 1e-6 * model.dual_value_).all()
    assert (model.predict(nominal) == 1).mean() > 0.5
    assert (model.alpha_[80:] <= 0).all() and (model.alpha_[:80] >= 0).all() and model.alpha_[83] == 0
    assert model.alpha_.sum() == pytest.approx(1)
    ignored = SVDD(kernel=kernel, C_negative=1e-12, tol=1e-7, gamma=unaware.gamma_ or 1.0).fit(X, y)
    np.testing.assert_allclose(ignored.score_samples(X), unaware.score_samples(X), atol=1e-3)


def test_an_impossible_hard_margin_warns():
    X = np.array([[-1.0], [1.0], [0.0]])  # no interval holds both ends and leaves out the middle
    with pytest.warns(ConvergenceWarning, match="lower"):
        SVDD(kernel="linear", C=np.inf, max_iter=1000).fit(X, [1, 1, -1])


# ---- properties ----

samples = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).normal(size=(30, 3)))
QUICK = settings(max_examples=15, deadline=None, derandomize=True)


@QUICK
@given(samples, st.sampled_from(["rbf", "linear"]), st.floats(-1e4, 1e4))
def test_translation_changes_nothing(X, kernel, shift):
    here, there = (SVDD(kernel=kernel, nu=0.2, tol=1e-9).fit(Z) for Z in (X, X + shift))
    np.testing.assert_allclose(here.decision_function(X), there.decision_function(X + shift), atol=1e-5)


@QUICK
@given(samples, st.sampled_from(["rbf", "linear", "poly"]), st.randoms())
def test_order_changes_nothing(X, kernel, random):
    order = np.array(random.sample(range(30), 30))
    one, other = (SVDD(kernel=kernel, nu=0.2, tol=1e-9).fit(Z) for Z in (X, X[order]))
    np.testing.assert_allclose(one.decision_function(X)[order], other.decision_function(X[order]), atol=1e-5)


@QUICK
@given(samples, st.sampled_from(["rbf", "linear"]), st.integers(2, 4))
def test_duplicates_change_nothing(X, kernel, times):
    once, often = (SVDD(kernel=kernel, nu=0.2, gamma=0.5, tol=1e-9).fit(Z) for Z in (X, np.repeat(X, times, axis=0)))
    np.testing.assert_allclose(once.score_samples(X), often.score_samples(X), atol=1e-5)


@QUICK
@given(samples, st.floats(0.05, 1))
def test_outliers_at_most_nu_at_most_support_vectors(X, nu):
    model = SVDD(nu=nu).fit(X)
    assert (model.predict(X) == -1).mean() <= nu + 1e-12 and model.leave_one_out_bound_ >= nu - 1e-12


# ---- interface ----


def test_scores_agree_with_each_other_and_across_blocks(X, monkeypatch):
    model = SVDD().fit(X)
    scores = model.score_samples(X)
    np.testing.assert_array_equal(model.anomaly_score(X), -scores)
    np.testing.assert_array_equal(model.decision_function(X), scores - model.offset_)
    np.testing.assert_array_equal(model.predict(X), np.where(scores >= model.offset_, 1, -1))
    assert model.offset_ == pytest.approx(-(model.radius_**2))
    monkeypatch.setattr(fcdd.svdd, "BLOCK_ENTRIES", 100)
    np.testing.assert_allclose(model.score_samples(X), scores, atol=1e-12)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("options", [{}, {"kernel": "poly", "coef0": 1.0}, {"kernel": "linear"}])
def test_scores_where_tensors_lie(X, options, device, monkeypatch):
    """PyTorch's float64 gives NumPy's scores, on the GPU as on the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = SVDD(device="cpu", **options).fit(X)
    scores = model.score_samples(X)
    monkeypatch.setattr(fcdd.svdd, "BLOCK_ENTRIES", 2000)
    monkeypatch.setattr(fcdd.svdd, "_put", lambda *_, **__: lambda array: torch.from_numpy(array).to(device))
    np.testing.assert_allclose(model.score_samples(X), scores, rtol=1e-11, atol=1e-12)


def test_large_samples_are_scored_on_the_gpu_where_there_is_one(X, monkeypatch):
    model = SVDD().fit(X)
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: (asked.append(device), tensor)[1])
    scores = model.score_samples(X)
    assert not asked
    monkeypatch.setattr(fcdd.svdd, "BLOCK_ENTRIES", 2000)
    np.testing.assert_allclose(model.score_samples(X), scores, atol=1e-12)
    assert set(asked) == {"cuda"}
    asked.clear()
    model.set_params(device="cuda:0").score_samples(X[:3])
    assert set(asked) == {"cuda:0"}


def test_a_table_with_named_columns(X, tmp_path):
    """Fitted on a DataFrame: saved, loaded, and its names checked as scikit-learn does."""
    table = pd.DataFrame(X, columns=["width", "height", "weight", "age"])
    model = SVDD().fit(table)
    with suppress(TypeError):
        model.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").is_file()
    twin = SVDD.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(twin.decision_function(table), model.decision_function(table))
    np.testing.assert_array_equal(twin.feature_names_in_, model.feature_names_in_)
    assert twin.feature_names_in_.dtype == model.feature_names_in_.dtype
    for one in (model, twin):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            one.predict(X)
        with pytest.raises(ValueError, match="feature names should match"):
            one.predict(table[["height", "width", "weight", "age"]])


def test_images_arrays_and_tensors_agree():
    images = np.random.default_rng(0).integers(0, 256, size=(40, 1, 6, 6), dtype=np.uint8)
    flat = images.reshape(40, -1) / 255
    expected = SVDD().fit(flat).score_samples(flat)
    for Z in (images, torch.from_numpy(images), flat.reshape(40, 1, 6, 6)):
        np.testing.assert_allclose(SVDD().fit(Z, torch.ones(40)).score_samples(Z), expected)
    with pytest.raises(ValueError, match=r"float in \[0, 1\]"):
        SVDD().fit(images.astype(float))


def test_the_seed_fixes_every_bit(X):
    first, second = (SVDD(gamma="median", seed=3).fit(X).score_samples(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_identical_samples():
    for kernel in ("rbf", "linear", "poly"):
        model = SVDD(kernel=kernel).fit(np.full((20, 3), 7.0))
        assert (model.predict(np.full((2, 3), 7.0)) == 1).all() and model.radius_ < 1e-2


def test_too_few_steps_warn(X):
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        assert SVDD(gamma=5.0, max_iter=3).fit(X).n_iter_ == 3


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"nu": 0}, r"nu: expected a fraction in \(0, 1\]"),
        ({"nu": 1.5}, "nu: expected"),
        ({"nu": np.nan}, "nu: expected"),
        ({"C": 0.001}, "infeasible.*raise C"),
        ({"C": -1}, "C: expected a positive"),
        ({"kernel": "cubic"}, "kernel: exp"),
        ({"gamma": "auto"}, "gamma: expected"),
        ({"gamma": 0.0}, "gamma: expected"),
        ({"gamma": None}, "gamma: expected"),
        ({"width": -1}, "width: expected"),
        ({"C_negative": 0}, "C_negative: exp"),
        ({"tol": 0}, "tol: expected"),
        ({"kernel": "poly", "gamma": "rejection"}, "chooses an rbf width"),
        ({"device": "cuda:99"}, "solved on the CPU"),
        ({"device": "mps"}, "solved on the CPU"),
        ({"kernel": "precomputed"}, "square symmetric"),
        ({"kernel": lambda A, B: np.ones(3)}, "from kernel"),
        ({"kernel": lambda A, B: np.full((len(A), len(B)), np.nan)}, "finite"),
    ],
)
def test_bad_parameters(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        SVDD(**parameters).fit(X)


@pytest.mark.parametrize(
    "y, message",
    [
        (np.full(300, 2), r"expected labels \+1 \(nominal\)"),
        (np.full(300, np.nan), "expected"),
        (np.ones(7), "one label for each of the 300"),
        (-np.ones(300), "at least one nominal"),
        (np.full(300, "good"), "expected labels .*got .'good'"),
    ],
)
def test_bad_labels(X, y, message):
    with pytest.raises(ValueError, match=message):
        SVDD().fit(X, y)


def test_bad_samples(X):
    for bad in (np.nan, np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match="NaN|infinity"):
            SVDD().fit(broken)
        with pytest.raises(ValueError, match="NaN|infinity"):
            SVDD().fit(X).score_samples(broken)
        with pytest.raises(ValueError, match="NaN|infinity"):
            SVDD().fit(np.full((3, 1, 2, 2), bad))
    with pytest.raises(ValueError, match="add the channel axis"):
        SVDD().fit(np.zeros((5, 4, 4)))
    with pytest.raises(ValueError, match="features"):
        SVDD().fit(X).predict(X[:, :3])
    with pytest.raises(ValueError, match="0 sample|minimum of 1"):
        SVDD().fit(np.zeros((0, 1, 4, 4)))
    with pytest.raises(ValueError, match="masks=None"):
        SVDD().fit(X, masks=np.zeros(300))
    with pytest.raises(NotFittedError):
        SVDD().predict(X)
    with pytest.raises(ValueError, match="pass it as a callable"):
        SVDD(kernel="precomputed").fit(X @ X.T).score_samples(X @ X.T)


class Unlabelled(SVDD):
    """SVDD without labels: scikit-learn's checks hand outlier detectors a meaningless y in {0, 1, 2}."""

    def fit(self, X, y=None):
        return super().fit(X)


@parametrize_with_checks([Unlabelled(), Unlabelled(kernel="linear", nu=0.5), Unlabelled(kernel="poly", gamma=0.1)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


LABELLED = "hands fit a y in {0, 1, 2}, which SVDD must refuse: its labels are +1, 0, -1; passes with y=None, above"
REFUSES = dict.fromkeys(
    (
        "check_fit_score_takes_y",
        "check_estimators_overwrite_params",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_n_features_in_after_fitting",
        "check_positive_only_tag_during_fit",
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_f_contiguous_array_estimator",
        "check_classifier_data_not_an_array",
        "check_non_transformer_estimators_n_iter",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1feature",
        "check_dict_unchanged",
        "check_fit2d_predict1d",
    ),
    LABELLED,
)
# Labels of 0 and 1 alone may mean unlabelled and nominal, or nominal and anomalous.
REFUSES |= dict.fromkeys(
    (
        "check_pipeline_consistency",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
    ),
    LABELLED.replace("{0, 1, 2}", "{0, 1}"),
)


@parametrize_with_checks([SVDD()], expected_failed_checks=lambda estimator: REFUSES)
def test_scikit_learn_checks_with_labels(estimator, check):
    check(estimator)

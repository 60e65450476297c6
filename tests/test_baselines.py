"""The shallow baselines: plain scikit-learn underneath, images in, higher = more normal out."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.svm import OneClassSVM

from fcdd.metrics import auroc
from fcdd_study import baselines

MAKERS = [baselines.kde, baselines.isolation_forest, baselines.pca_ocsvm]


@pytest.mark.parametrize("make", MAKERS)
def test_they_learn_from_real_images(boots, make):
    scores = make().fit(boots.train.images).score_samples(boots.test.images)
    assert scores.shape == (len(boots.test),) and auroc(boots.test.anomalous, -scores) > 0.8


@pytest.mark.parametrize("make", MAKERS)
def test_float_and_uint8_score_alike(boots, make):
    X, T = boots.train.images[:100], boots.test.images[:40]
    expected = make().fit(X).score_samples(T)
    np.testing.assert_allclose(make().fit(X.float() / 255).score_samples(T.numpy() / np.float32(255)), expected)


def test_principal_components_keep_most_of_the_variance(boots):
    for make in (baselines.kde, baselines.pca_ocsvm):
        pca = make().fit(boots.train.images)[1]
        assert pca.explained_variance_ratio_.sum() >= 0.95
        assert pca.explained_variance_ratio_[:-1].sum() < 0.95


def log_density(train, rows, bandwidth):
    """By its definition: log of the mean over training rows of a normal density."""
    n, d = train.shape
    exponents = -cdist(rows, train, "sqeuclidean") / (2 * bandwidth**2)
    return logsumexp(exponents, axis=1) - np.log(n) - d * np.log(bandwidth) - d / 2 * np.log(2 * np.pi)


def test_density_is_exact(boots):
    pipeline = baselines.kde(folds=2).fit(boots.train.images)
    train, rows = (pipeline[:2].transform(part.images) for part in (boots.train, boots.test))
    expected = log_density(train, rows, pipeline[-1].best_params_["bandwidth"])
    np.testing.assert_allclose(pipeline.score_samples(boots.test.images), expected, rtol=1e-4)


def test_bandwidth_is_the_likeliest_for_held_out_images(boots):
    pipeline = baselines.kde(folds=3).fit(boots.train.images)
    rows = pipeline[:2].transform(boots.train.images)
    likelihoods = []
    for bandwidth in baselines.BANDWIDTHS:
        folds = np.array_split(np.arange(len(rows)), 3)
        parts = [log_density(np.delete(rows, fold, 0), rows[fold], bandwidth).sum() for fold in folds]
        likelihoods.append(sum(parts))
    assert pipeline[-1].best_params_["bandwidth"] == baselines.BANDWIDTHS[int(np.argmax(likelihoods))]


def test_one_class_svm_is_scikit_learn_s_on_components(boots):
    pipeline = baselines.pca_ocsvm(nu=0.2).fit(boots.train.images)
    plain = OneClassSVM(nu=0.2).fit(pipeline[:2].transform(boots.train.images))
    rows = pipeline[:2].transform(boots.test.images)
    np.testing.assert_allclose(pipeline.score_samples(boots.test.images), plain.score_samples(rows), rtol=1e-5)


def test_isolation_forest_follows_its_seed(boots):
    first, again, other = (
        baselines.isolation_forest(seed=seed).fit(boots.train.images).score_samples(boots.test.images)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("make", MAKERS)
def test_bad_images(make):
    with pytest.raises(ValueError, match="add the channel axis"):
        make().fit(np.zeros((30, 28, 28), np.uint8))

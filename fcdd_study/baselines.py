"""The shallow methods that the papers compare with, as scikit-learn pipelines over flattened images.

Each function returns an unfitted pipeline; ``fit(X)`` takes images (N, C, H, W), ``score_samples(X)`` gives (N,),
higher = more normal. None of them is tuned on labels: the papers chose bandwidths and widths on labelled test data.
Taught in: chapter 01.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import OneClassSVM

from fcdd.augment import as_float
from fcdd.checks import as_images

VARIANCE = 0.95  # the share of it that PCA keeps, as in the Deep SVDD paper
BANDWIDTHS = tuple(2.0 ** np.arange(-4.5, 5))  # every other one of the official code's grid


def flatten(X) -> np.ndarray:
    """Images (N, C, H, W) as rows of floats in [0, 1], (N, C·H·W)."""
    return as_float(as_images(X)).flatten(1).numpy()


def kde(*, bandwidths=BANDWIDTHS, folds: int = 5) -> Pipeline:
    """Gaussian kernel density on principal components; its bandwidth by the likelihood of held-out nominal images."""
    # One leaf, that is no tree: in many dimensions the bounds of a tree cancel, and scikit-learn's sum is far off.
    density = KernelDensity(leaf_size=1_000_000)
    search = GridSearchCV(density, {"bandwidth": list(bandwidths)}, cv=folds)
    return make_pipeline(FunctionTransformer(flatten), PCA(VARIANCE, svd_solver="full"), search)


def isolation_forest(*, seed: int = 0, trees: int = 100, samples: int | str = "auto") -> Pipeline:
    """Isolation forest: anomalous is what random splits cut off early; "auto": 256 samples a tree. Liu et al. 2008."""
    forest = IsolationForest(n_estimators=trees, max_samples=samples, random_state=seed)
    return make_pipeline(FunctionTransformer(flatten), forest)


def pca_ocsvm(*, nu: float = 0.1, gamma="scale") -> Pipeline:
    """One-class SVM (Schölkopf et al. 2001) with an RBF kernel on principal components."""
    plane = OneClassSVM(nu=nu, gamma=gamma)
    return make_pipeline(FunctionTransformer(flatten), PCA(VARIANCE, svd_solver="full"), plane)

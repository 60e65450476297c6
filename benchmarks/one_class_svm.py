"""The support vector data description against scikit-learn's OneClassSVM, which has the same dual for this kernel."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import OneClassSVM

import fcdd

from .compare import Comparison, Fact, Limit, Measured, Options, timed
from .images import fashion_mnist

NU, CACHE = 0.1, 1000  # share of outliers; MB of kernel rows that both may keep


def dual_value(alpha, vectors, gamma: float) -> float:
    """The dual of both, 1 − αᵀKα for multipliers that sum to 1, computed the same way for both."""
    return float(1 - alpha @ rbf_kernel(vectors, gamma=gamma) @ alpha)


def comparisons(options: Options):
    for n, times in ((200, 3),) if options.quick else ((6_000, 3), (20_000, 2), (60_000, 1)):
        images = Images(n, options.quick)
        peers = {} if n > 20_000 and not options.long else {"OneClassSVM": images.theirs}
        yield Comparison(
            f"one-class-svm-{n}",
            f"SVDD of {n:,} images, RBF",
            images.ours,
            peers,
            1.0 if peers else None,
            lambda peaks, ours, n=n: Limit(
                2 * len(ours.support_) * n * 784 / peaks["float64"], "kernel rows of the support vectors, float64"
            ),
            _facts,
            times,
        )


class Images(NamedTuple):
    """Images drawn from the training images of all classes, as rows of numbers."""

    n: int
    quick: bool

    def rows(self):
        images = fashion_mnist(self.quick)
        chosen = np.random.default_rng(0).permutation(len(images))[: self.n]
        return images[chosen].numpy().reshape(self.n, -1) / 255.0

    def ours(self) -> Measured:
        X = self.rows()
        return timed(lambda: fcdd.SVDD(nu=NU, cache_mb=CACHE).fit(X))

    def theirs(self) -> Measured:
        X = self.rows()
        return timed(lambda: OneClassSVM(nu=NU, gamma="scale", cache_size=CACHE).fit(X))


def _facts(ours, theirs) -> list[Fact]:
    alpha = theirs.dual_coef_[0] / theirs.dual_coef_.sum()
    found = dual_value(ours.alpha_[ours.support_], ours.support_vectors_, ours.gamma_)
    wanted = dual_value(alpha, theirs.support_vectors_, ours.gamma_)
    return [Fact("relative difference of the dual values", abs(found - wanted) / wanted, 1e-5)]

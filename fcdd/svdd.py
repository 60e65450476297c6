"""Support vector data description: the smallest soft sphere around the data, by its dual. Taught in: chapter 01"""

import warnings
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from .checks import as_labels
from .scores import ScoreMixin

KERNELS = ("linear", "poly", "rbf", "precomputed")
GAMMA_RULES = ("scale", "median", "nearest", "rejection")
WORKING_SET = 256  # variables optimised at once: one GEMM of 256 kernel rows, one 256 x 256 subproblem
BLOCK_ENTRIES = 2**24  # kernel entries held at once while scoring: 128 MB


@dataclass(kw_only=True, eq=False, repr=False)  # a constructor that only stores, as scikit-learn asks for
class SVDD(ScoreMixin, BaseEstimator):
    r"""Support vector data description (Tax & Duin, Machine Learning 54, 2004).

    The sphere of center c and radius R with least R^2 + C sum_i xi_i, subject to |phi(x_i) - c|^2 <= R^2 + xi_i for
    nominal samples, and C_negative sum_l xi_l with |phi(x_l) - c|^2 >= R^2 - xi_l for labelled anomalous ones.
    Its dual, with signed multipliers alpha_i (Tax & Duin's y_i alpha_i), is

        max  sum_i alpha_i k(x_i, x_i) - sum_ij alpha_i alpha_j k(x_i, x_j)
        s.t. sum_i alpha_i = 1,  0 <= alpha_i <= C (nominal),  -C_negative <= alpha_l <= 0 (anomalous),

    and c = sum_i alpha_i phi(x_i). Taught in: chapter 01

    Parameters
    ----------
    kernel : "linear", "poly" (gamma x'y + coef0)^degree, "rbf" exp(-gamma |x - y|^2), "precomputed", or a callable
        (A, B) -> (len(A), len(B)).
    nu : in (0, 1]; sets C = 1 / (nu n), n the number of nominal samples. Without labelled anomalies,
        #outliers / n <= nu <= #support vectors / n.
    C : overrides nu; C n < 1 is infeasible. C >= 1 (also np.inf) without labelled anomalies is the hard margin.
    C_negative : the same for labelled anomalies; None means C. np.inf demands that each lies outside.
    gamma : a number, or a rule (1 if the data have no spread), the last three on 1,000 samples drawn with `seed`:
        "scale" is 1 / (features * variance of X), as in scikit-learn; "median" 1/s^2, s the median distance of two
        samples; "nearest" 1/s^2, s the mean distance to the nearest neighbour; "rejection" the smallest s at which at
        most the fraction nu are support vectors of the *hard-margin* sphere. That fraction bounds the expected
        leave-one-out error and falls as s grows: bisection from "nearest" to twice the data's radius, some ten fits.
    width : Tax & Duin's s in exp(-|x - y|^2 / s^2), gamma = 1 / s^2; overrides gamma. For the other convention,
        exp(-|x - y|^2 / (2 sigma^2)), pass width = sqrt(2) * sigma.
    tol : stop when the KKT gap is at most tol times the dual value (the multiplier-weighted mean squared distance to
        the center). Without labelled anomalies the gap bounds primal minus dual: tol is a relative accuracy.
    max_iter : bound on pair steps, after which a ConvergenceWarning tells the gap reached.
    cache_mb : memory for kernel rows. The whole kernel matrix is kept only if it fits.
    seed : draws the samples of the gamma rules and of the starting point; the optimum does not depend on it.
    device : where rbf and poly kernels are computed for scores, always in float64: "cpu", a CUDA device, or "auto",
        CUDA for more than one block of samples. The dual is solved on the CPU.

    Attributes
    ----------
    alpha_ : (n,) multipliers, negative for labelled anomalies, sum 1. support_ : indices where they are not 0.
    support_vectors_ : those samples (None if precomputed). center_ : (features,), of the linear kernel only.
    radius_, offset_ : R and -R^2. R^2 is the largest squared distance among samples whose multiplier can still grow:
        the unbounded support vectors, up to the KKT gap. So no sample outside has alpha_i < C, and the bound on
        outliers holds exactly. Without unbounded support vectors any R between the inside and the outside samples is
        optimal and this is the smallest; where all are at C (nu = 1), R reaches the nearest sample.
    dual_value_, kkt_gap_ : the dual objective; the KKT gap relative to it. n_iter_ : pair steps taken.
    gamma_ : number used, None if the kernel has none. leave_one_out_bound_ : #support vectors / n.
    """

    kernel: object = "rbf"
    nu: float = 0.1
    C: float | None = None
    C_negative: float | None = None
    gamma: float | str = "scale"
    width: float | None = None
    degree: int = 3
    coef0: float = 0.0
    tol: float = 1e-5
    max_iter: int = 1_000_000
    cache_mb: float = 1000
    seed: int = 0
    device: str = "auto"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _inputs(self, X, y=None, masks=None):
        if masks is not None:
            raise ValueError("SVDD describes whole samples: expected masks=None, got masks; use fcdd.FCDD for masks")
        self._check_parameters()
        X = self._check_X(X, reset=True)
        return X, np.where(as_labels(y, len(X)).numpy() >= 0, 1, -1), None

    def _learn(self, X, y, masks):
        """Solves the dual on X (N, features), float64, or (N, N) if precomputed."""
        nominal = y > 0
        if self.kernel == "precomputed" and len(X) != X.shape[1]:
            raise ValueError("a precomputed kernel cannot be divided; fit on k(X, X), then calibrate on k(X_good, X)")
        low, high = self._box(nominal)
        self.gamma_ = self._resolve_gamma(X[nominal])
        # Neither of the two descriptions changes under translation; centring keeps far-away data from losing digits.
        self._shift = X.mean(axis=0) if self.kernel in ("linear", "rbf") else None
        X = X if self._shift is None else X - self._shift
        diagonal = X.diagonal() if self.kernel == "precomputed" else self._self_products(X)
        if not np.isfinite(diagonal).all():
            raise ValueError(f"kernel: expected finite k(x, x), got NaN or infinity from {self.kernel!r}; rescale X")
        rows = X.__getitem__ if self.kernel == "precomputed" else lambda i: self._products(X[i], X)
        cache = _RowCache(rows, len(X), self.cache_mb)
        start = _start(cache, diagonal, nominal, high, np.random.default_rng(self.seed))
        alpha, slope, self.kkt_gap_, self.n_iter_ = _solve(cache, diagonal, low, high, start, self.tol, self.max_iter)
        self._store(X, alpha, slope, diagonal, high)
        if self.kkt_gap_ > self.tol:
            text = f"SVDD: expected a KKT gap of at most tol = {self.tol:.1e}, got {self.kkt_gap_:.1e} after "
            text += f"{self.n_iter_} steps; raise max_iter or tol, or scale the data; where no sphere separates "
            text += "the labelled anomalies, lower C_negative"
            warnings.warn(text, ConvergenceWarning, stacklevel=2)
        return self

    def anomaly_score(self, X):
        """|phi(x) - c|^2, (N,); higher is more anomalous.

        A precomputed kernel is passed as k(z, x_i), (N, n). Its k(z, z) is not in there, so it must be the constant
        diagonal of the training kernel (rbf, any normalised kernel); ValueError where that is not constant.
        """
        check_is_fitted(self)
        X = self._check_X(X, reset=False)
        if self.kernel == "precomputed" and self._diagonal is None:
            raise ValueError(
                "precomputed kernel: expected a constant k(x, x), got others; normalise it, or pass it as a callable"
            )
        step = max(1, BLOCK_ENTRIES // max(len(self.support_), X.shape[1]))
        put = _put(self.device, large=len(X) > step) if self.kernel in ("rbf", "poly") else np.asarray
        fitted = put, put(self._vectors), put(self.alpha_[self.support_])
        return np.concatenate([self._squared_distances(X[i : i + step], *fitted) for i in range(0, len(X), step)])

    def _state(self):
        others = {*self.get_params(), "calibration_"}
        learnt = {name: each for name, each in vars(self).items() if name not in others}
        arrays = {name: each for name, each in learnt.items() if isinstance(each, np.ndarray) and each.dtype != object}
        fitted = {name: each for name, each in learnt.items() if name not in arrays}
        return arrays, {name: each.tolist() if hasattr(each, "tolist") else each for name, each in fitted.items()}

    def _restore(self, arrays, fitted):
        if self.kernel not in KERNELS or any(hasattr(type(self), name) for name in (*arrays, *fitted)):
            raise ValueError(
                f"expected what SVDD learns with one of {KERNELS}, got {self.kernel!r}, {[*arrays, *fitted]}"
            )
        vars(self).update(fitted, **arrays)
        if "feature_names_in_" in fitted:
            self.feature_names_in_ = np.array(fitted["feature_names_in_"], dtype=object)

    def _products(self, A, B):
        """k(a, b), (len(A), len(B)), of arrays or tensors; in place, which takes a third of scikit-learn's time."""
        if callable(self.kernel):
            K = np.asarray(self.kernel(A, B), dtype=np.float64)
            if K.shape != (len(A), len(B)) or not np.isfinite(K).all():
                got = f"{K.shape} with {(~np.isfinite(K)).sum()} NaN or infinite; see sklearn.metrics.pairwise"
                raise ValueError(f"kernel: expected finite {(len(A), len(B))} from kernel(A, B), got {got}")
            return K
        K = A @ B.T
        if self.kernel == "poly":
            K = (self.gamma_ * K + self.coef0) ** self.degree
        elif self.kernel == "rbf":
            xp = np if isinstance(A, np.ndarray) else torch
            K -= xp.einsum("ij,ij->i", A, A)[:, None] / 2
            K -= xp.einsum("ij,ij->i", B, B) / 2
            xp.clip(K, None, 0, out=K)  # rounding must not make a squared distance negative
            K *= 2 * self.gamma_
            xp.exp(K, out=K)
        return K

    def _self_products(self, A):
        """k(a, a), (len(A),); in small blocks, as no more is known of a callable."""
        if self.kernel == "rbf":
            return np.ones(len(A))
        return np.concatenate([self._products(A[i : i + 64], A[i : i + 64]).diagonal() for i in range(0, len(A), 64)])

    def _squared_distances(self, X, put, vectors, weights):
        """|phi(x) - c|^2, (len(X),); ``put`` brings arrays to where ``vectors`` and ``weights`` lie."""
        if self.kernel == "linear":
            X = X - self.center_
            return np.einsum("ij,ij->i", X, X)
        if self.kernel == "precomputed":
            sums, own = X[:, self.support_] @ weights, self._diagonal
        else:
            X = X if self._shift is None else X - self._shift
            sums, own = self._products(put(X), vectors) @ weights, self._self_products(X)
        sums = sums if isinstance(sums, np.ndarray) else sums.numpy(force=True)
        return np.maximum(own - 2 * sums + self._center_norm, 0)

    def _resolve_gamma(self, X):
        if self.kernel not in ("rbf", "poly"):
            return None
        if self.width is not None:
            return 1 / self.width**2
        if not isinstance(self.gamma, str):
            return float(self.gamma)
        square = X.shape[1] * X.var() if self.gamma == "scale" else self._width(X) ** 2
        return 1 / square if square > 0 else 1.0

    def _width(self, X):
        """s of the rules "median", "nearest" and, by bisection on its logarithm, "rejection"."""
        if len(X) == 1:
            return 0.0
        some = X[np.random.default_rng(self.seed).permutation(len(X))[:1000]]
        if self.gamma == "median":
            return np.median(pdist(some))
        narrow = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(X).kneighbors(some)[0][:, 1].mean()
        if self.gamma == "nearest":
            return narrow
        wide = 2 * np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).max())
        if narrow == 0 or wide == 0:
            return wide

        def fraction(width):
            trial = SVDD(C=1.0, width=width, tol=1e-3, cache_mb=self.cache_mb, seed=self.seed)
            return trial.fit(X).leave_one_out_bound_

        if fraction(wide) > self.nu:
            text = f'gamma="rejection": no width up to {wide:.3g} has at most nu = {self.nu} of support vectors; '
            warnings.warn(f"{text}taking that one, twice the data's radius; raise nu or add samples", stacklevel=4)
            return wide
        for _ in range(8):
            middle = np.sqrt(narrow * wide)
            narrow, wide = (narrow, middle) if fraction(middle) <= self.nu else (middle, wide)
        return wide

    def _store(self, X, alpha, slope, diagonal, high):
        self.alpha_ = alpha
        self.support_ = np.flatnonzero(alpha)
        self.dual_value_ = float(alpha @ (diagonal + slope) / 2)
        self._center_norm = alpha @ (diagonal - slope) / 2  # |c|^2
        self._diagonal = diagonal[0] if np.ptp(diagonal) <= 1e-12 * np.abs(diagonal).max() else None
        squared = np.maximum(slope + self._center_norm, 0)
        open_ = alpha < high
        square = squared[open_].max() if open_.any() else squared.min()
        # The rounding of one more kernel evaluation must not push a sample on the sphere out of it.
        square += 1e-12 * max(square, np.abs(diagonal).max())
        self.radius_, self.offset_ = float(np.sqrt(square)), -float(square)
        self.leave_one_out_bound_ = len(self.support_) / len(alpha)
        self._vectors = None if self.kernel == "precomputed" else X[self.support_]
        self.support_vectors_ = self._vectors if self._shift is None else self._vectors + self._shift
        self.center_ = alpha[self.support_] @ self._vectors + self._shift if self.kernel == "linear" else None

    def _box(self, nominal):
        """Lower and upper bounds of the signed multipliers, (n,) each."""
        n = nominal.sum()
        C = 1 / (self.nu * n) if self.C is None else self.C
        if C * n < 1 - 1e-9:
            raise ValueError(f"infeasible: expected C >= 1/n = {1 / n:.3g} for {n} nominal samples, got {C}; raise C")
        negative = C if self.C_negative is None else self.C_negative
        return np.where(nominal, 0.0, -negative), np.where(nominal, C, 0.0)

    def _check_parameters(self):
        if not callable(self.kernel) and self.kernel not in KERNELS:
            raise ValueError(f"kernel: expected one of {KERNELS} or a callable, got {self.kernel!r}")
        if not 0 < self.nu <= 1:
            raise ValueError(f"nu: expected a fraction in (0, 1], got {self.nu}; it bounds the share of outliers")
        if isinstance(self.gamma, str) and self.gamma not in GAMMA_RULES:
            raise ValueError(f"gamma: expected a positive number or one of {GAMMA_RULES}, got {self.gamma!r}")
        if self.gamma == "rejection" and self.kernel != "rbf":
            raise ValueError(f'gamma="rejection" chooses an rbf width, got kernel={self.kernel!r}; give a number')
        _put(self.device)
        for name in ("C", "C_negative", "width", "gamma", "tol"):
            value, most = getattr(self, name), np.inf if name in ("C", "C_negative") else np.finfo(float).max
            fine = name not in ("gamma", "tol") if value is None else isinstance(value, str) or 0 < value <= most
            if not fine:
                raise ValueError(f"{name}: expected a positive number, got {value!r}")

    def _check_X(self, X, reset):
        """Samples as float64 (N, features)."""
        X = X.numpy(force=True) if isinstance(X, torch.Tensor) else X
        ndim = getattr(X, "ndim", 2)
        if ndim == 3 or ndim > 4:
            raise ValueError(
                f"expected X (N, features) or (N, C, H, W), got {X.shape}; add the channel axis, X[:, None], or flatten"
            )
        if ndim == 4:
            X = _flat_images(X)
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        if reset and self.kernel == "precomputed" and (X.shape[0] != X.shape[1] or not np.allclose(X, X.T)):
            raise ValueError(
                f"precomputed kernel: expected a square symmetric matrix, got {X.shape}; fit k(X, X), score k(Z, X)"
            )
        return X


def _put(device, large: bool = False):
    """What brings arrays to where kernels are computed: to the GPU in float64 (MPS has none), or nothing."""
    device, gpus = str(device), [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    known = ["auto", "cpu", *(["cuda", *gpus] if gpus else [])]
    if device not in known:
        raise ValueError(f"device: SVDD is solved on the CPU and scores in float64, expected {known}, got {device!r}")
    if device == "cpu" or (device == "auto" and not (large and gpus)):
        return np.asarray
    return lambda array: torch.from_numpy(array).to(device.replace("auto", "cuda"))


def _flat_images(X):
    """Images (N, C, H, W) as (N, C H W) in [0, 1]."""
    X = np.reshape(X, (len(X), np.prod(X.shape[1:], dtype=int)))
    if X.dtype == np.uint8:
        return X / 255.0
    if X.size and not (X.min() >= -1e-6 and X.max() <= 1 + 1e-6) and np.isfinite(X).all():
        got = f"{X.dtype} in [{X.min():.3g}, {X.max():.3g}]"
        raise ValueError(f"images: expected uint8, or float in [0, 1], got {got}; rescale, or flatten to (N, features)")
    return X


# The solver: decomposition over working sets (Joachims 1999), pair steps within (Platt 1998; Fan, Chen & Lin 2005).


class _RowCache:
    """Kernel rows, computed many at a time and kept, the least recently used given up first."""

    def __init__(self, compute, n, megabytes):
        self.compute, self.rows = compute, OrderedDict()
        self.limit = max(int(megabytes * 2**20 / (8 * n)), WORKING_SET)

    def __getitem__(self, index):
        """Rows of K, (len(index), n); at most WORKING_SET distinct ones at once."""
        missing = np.array([i for i in index if i not in self.rows], dtype=int)
        if len(missing):  # copied, or one row would keep its whole block
            self.rows.update((i, row.copy()) for i, row in zip(missing, self.compute(missing), strict=True))
        for i in index:
            self.rows.move_to_end(i)
        while len(self.rows) > self.limit:
            self.rows.popitem(last=False)
        return np.stack([self.rows[i] for i in index])


def _start(cache, diagonal, nominal, high, rng):
    """Feasible multipliers: all weight on the samples farthest from the mean of a few, likely support vectors."""
    index = np.flatnonzero(nominal)
    few = rng.permutation(index)[: min(64, WORKING_SET)]
    far = index[np.argsort(-(diagonal - 2 * cache[few].mean(axis=0))[index], kind="stable")]
    C = min(high[index[0]], 1.0)
    full = min(int(1 / C), len(index))
    rest, alpha = 1 - full * C, np.zeros(len(diagonal))
    alpha[far[:full]] = C
    alpha[far[full : full + 1]] = rest if rest > 1e-12 else 0  # less is rounding, not a support vector
    return alpha


def _solve(cache, diagonal, low, high, alpha, tol, max_iter):
    """Ascend the dual until the KKT gap is at most tol times its value.

    slope = diag(K) - 2 K alpha is the dual's gradient and, up to |c|^2, the squared distance to the center. At the
    optimum no alpha_i that can grow has a larger slope than one that can shrink; the gap is the worst violation.
    """
    slope, steps, half = diagonal.copy(), 0, min(WORKING_SET // 2, len(alpha))
    support = np.flatnonzero(alpha)
    for block in np.split(support, range(WORKING_SET, len(support), WORKING_SET)):
        slope -= 2 * alpha[block] @ cache[block]
    floor = max(1e-8 * np.abs(diagonal).max(), np.finfo(float).tiny)
    with tqdm(desc="SVDD", unit=" steps", disable=None if len(alpha) >= 10_000 else True) as progress:
        while True:
            up, down = np.where(alpha < high, slope, -np.inf), np.where(alpha > low, slope, np.inf)
            gap, scale = max(0.0, up.max() - down.min()), max(alpha @ (diagonal + slope) / 2, floor)
            if gap <= tol * scale or steps >= max_iter:
                return alpha, slope, float(gap / scale), steps
            # Those that most want to grow and those that most want to shrink, half each.
            work = np.union1d(np.argpartition(-up, half - 1)[:half], np.argpartition(down, half - 1)[:half])
            rows = cache[work]
            least, box = max(0.1 * gap, 0.5 * tol * scale), (low[work], high[work])
            new, taken = _pair_steps(rows[:, work], slope[work], alpha[work], *box, least, max_iter - steps)
            slope -= 2 * (new - alpha[work]) @ rows
            alpha[work] = new
            steps += taken
            progress.update(taken)
            progress.set_postfix(gap=f"{gap / scale:.1e}")


def _pair_steps(K, slope, alpha, low, high, tol, max_iter):
    """Solve a small dense subproblem by moving weight between two samples at a time: i has the largest slope of those
    that can grow, j gains most with it, (slope_i - slope_j)^2 / |phi_i - phi_j|^2 (Fan, Chen & Lin, JMLR 6, 2005)."""
    slope, alpha, diagonal = slope.copy(), alpha.copy(), K.diagonal()
    apart = np.maximum(diagonal[:, None] + diagonal - 2 * K, 1e-12 * max(np.abs(diagonal).max(), 1e-300))
    shut, stuck = np.where(alpha < high, 0.0, -np.inf), np.where(alpha > low, 0.0, np.inf)
    for step in range(max_iter):
        i = int(np.argmax(slope + shut))
        lead = np.maximum(slope[i] - slope - stuck, 0)
        if lead.max() <= tol:
            return alpha, step
        j = int(np.argmax(lead * lead / apart[i]))
        room_i, room_j = high[i] - alpha[i], alpha[j] - low[j]
        move = min(lead[j] / (2 * apart[i, j]), room_i, room_j)
        alpha[i] = high[i] if move == room_i else alpha[i] + move  # exactly on the bound, not near it
        alpha[j] = low[j] if move == room_j else alpha[j] - move
        slope -= 2 * move * (K[i] - K[j])
        shut[i], shut[j] = (-np.inf if alpha[i] >= high[i] else 0.0), 0.0
        stuck[i], stuck[j] = 0.0, (np.inf if alpha[j] <= low[j] else 0.0)
    return alpha, max_iter

r"""The deep objectives of the lineage, as pure functions: one line changes at a time.

Each takes what the network puts out and returns one loss per sample, shape ``(N,)``. Labels ``y`` (N,) are ``+1``
nominal, ``-1`` anomalous, ``0`` unlabelled (treated as nominal).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Added inside the logarithm, as in the official FCDD code: finite at distance 0, invisible elsewhere.
TINY = 1e-31


def pseudo_huber(z: Tensor) -> Tensor:
    r"""Element-wise :math:`\sqrt{z^2 + 1} - 1`: quadratic near zero, linear far away. Any shape, same shape out.

    Written as :math:`z^2 / (\sqrt{z^2 + 1} + 1)`, which does not cancel to zero in float32 for small ``z``.
    Source: Ruff et al. 2020, *Rethinking Assumptions in Deep Anomaly Detection*. Taught in: chapter 05.
    """
    return z**2 / (torch.sqrt(z**2 + 1) + 1)


def repel(distance: Tensor) -> Tensor:
    r"""The anomalous half of the cross-entropy, :math:`-\log(1 - e^{-d})`: large near the center, zero far away.

    ``distance`` ≥ 0, any shape. ``expm1`` keeps it exact where ``1 - exp(-d)`` would round. Taught in: chapter 04.
    """
    return -torch.log(-torch.expm1(-distance) + TINY)


def deep_svdd(z: Tensor, center: Tensor) -> Tensor:
    r"""One-class Deep SVDD: :math:`\lVert \phi(x) - c \rVert^2`.

    ``z`` (N, d), ``center`` (d,). Source: Ruff et al. 2018, *Deep One-Class Classification*. Taught in: chapter 02.
    """
    return ((z - center) ** 2).sum(1)


def soft_boundary(z: Tensor, center: Tensor, radius: Tensor | float, nu: float) -> Tensor:
    r"""Soft-boundary Deep SVDD: :math:`R^2 + \frac{1}{\nu} \max(0, \lVert \phi(x) - c \rVert^2 - R^2)`.

    ``z`` (N, d), ``center`` (d,), ``radius`` R ≥ 0, ``nu`` in (0, 1]. Source: Ruff et al. 2018. Taught in: chapter 02.
    """
    return radius**2 + torch.relu(deep_svdd(z, center) - radius**2) / nu


def deep_sad(z: Tensor, center: Tensor, y: Tensor, eta: float = 1.0) -> Tensor:
    r"""Deep SAD: :math:`d` if unlabelled, else :math:`\eta\, d^{\,y}` with :math:`d = \lVert \phi(x) - c \rVert^2`.

    ``z`` (N, d), ``center`` (d,), ``y`` (N,) in {+1, 0, -1}, ``eta`` > 0 the weight of the labelled samples. A
    labelled anomaly contributes the *inverse* of its distance; without labels this is :func:`deep_svdd`.
    Source: Ruff et al. 2020, *Deep Semi-Supervised Anomaly Detection*; 1e-6 as in its code. Taught in: chapter 03.
    """
    distance = deep_svdd(z, center)
    return torch.where(y == 0, distance, eta * (distance + 1e-6) ** y.to(distance.dtype))


def hypersphere(z: Tensor, y: Tensor, norm: str = "pseudo-huber") -> Tensor:
    r"""Hypersphere classifier: :math:`h` if nominal, :math:`-\log(1 - e^{-h})` if anomalous.

    :math:`h(z)` is :func:`hypersphere_distance`; the center is the origin, which the bias of the last layer may move.
    ``z`` (N, d), ``y`` (N,) in {+1, 0, -1}, ``norm`` a name in :data:`NORMS`. Source: Ruff et al. 2020,
    *Rethinking Assumptions in Deep Anomaly Detection*. Taught in: chapter 04.
    """
    distance = hypersphere_distance(z, norm)
    return torch.where(y < 0, repel(distance), distance)


def _pseudo_huber_norm(z: Tensor) -> Tensor:
    square = (z**2).sum(1)
    return square / (torch.sqrt(square + 1) + 1)


NORMS = {
    "l1": lambda z: z.abs().sum(1),
    "l2": lambda z: torch.linalg.vector_norm(z, dim=1),
    "l2-squared": lambda z: (z**2).sum(1),
    "pseudo-huber": _pseudo_huber_norm,
}


def hypersphere_distance(z: Tensor, norm: str = "pseudo-huber") -> Tensor:
    r"""Distance of each row from the origin, HSC's score: ``z`` (N, d) → (N,).

    ``norm``: ``"pseudo-huber"`` :math:`\sqrt{\lVert z \rVert^2 + 1} - 1`, or of the paper's ablation ``"l1"``,
    ``"l2"``, ``"l2-squared"``. Raises ValueError for another name.
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
    return NORMS[norm](z)


def bce(z: Tensor, y: Tensor) -> Tensor:
    r"""Binary cross-entropy, the plain classifier beside HSC: :math:`-\log \sigma(\mp z)` for nominal, anomalous.

    ``z`` (N, 1) is the logit of being anomalous, ``y`` (N,) in {+1, 0, -1}. Taught in: chapter 04.
    """
    return F.binary_cross_entropy_with_logits(z[:, 0], (y < 0).to(z.dtype), reduction="none")


def focal(z: Tensor, y: Tensor, gamma: float = 2.0) -> Tensor:
    r"""Focal loss, :math:`(1 - p_y)^\gamma` times :func:`bce`, which forgets what is already classified well.

    ``z`` (N, 1), ``y`` (N,) in {+1, 0, -1}, ``gamma`` ≥ 0. Source: Lin et al. 2017, *Focal Loss for Dense Object
    Detection*; with outlier exposure: Hendrycks et al. 2019. Taught in: chapter 04.
    """
    from torchvision.ops import sigmoid_focal_loss  # here, because torchvision takes a second to import

    return sigmoid_focal_loss(z[:, 0], (y < 0).to(z.dtype), alpha=-1, gamma=gamma)


def fcdd(outputs: Tensor, y: Tensor) -> Tensor:
    r"""FCDD: :math:`a` if nominal, :math:`-\log(1 - e^{-a})` if anomalous, with :math:`a` the mean of :math:`A(X)`.

    :math:`A(X) = \sqrt{\phi(X)^2 + 1} - 1` element-wise. ``outputs`` (N, 1, u, v) is the raw output of a fully
    convolutional network, ``y`` (N,) in {+1, 0, -1}. On a 1×1 map: :func:`hypersphere` with one output.
    Source: Liznerski et al. 2021, *Explainable Deep One-Class Classification*. Taught in: chapter 05.
    """
    distance = pseudo_huber(outputs).flatten(1).mean(1)
    return torch.where(y < 0, repel(distance), distance)


def fcdd_pixelwise(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Pixel-wise FCDD: :math:`\frac1m \sum_j (1-Y_j) A'_j - \log(1 - e^{-\frac1m \sum_j Y_j A'_j})`.

    ``maps`` (N, 1, h, w) are upsampled anomaly maps :math:`A'(X)`, ``masks`` (N, 1, h, w) holds 1 on anomalous
    pixels. Both sums divide by all :math:`m = hw` pixels, and the logarithm is left out for samples without an
    anomalous pixel (the printed formula would be infinite there); both as in the official code.
    Source: Liznerski et al. 2021, semi-supervised variant. Taught in: chapter 06.
    """
    masks = masks.to(maps.dtype)
    nominal = ((1 - masks) * maps).flatten(1).mean(1)
    anomalous = (masks * maps).flatten(1).mean(1)
    has_defect = masks.flatten(1).any(1)
    # The inner `where` keeps the unused branch's gradient finite.
    return nominal + torch.where(has_defect, repel(torch.where(has_defect, anomalous, 1.0)), 0.0)

"""The objectives: golden numbers of the official code, limits of one another, safe numbers from distance 0 to 100."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fcdd import objectives, receptive

FIELD = receptive.ReceptiveField(16, 4, 1.5)  # of FCDD_CNN28_W, which made the golden maps


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(n, seed=0):
    return torch.randint(-1, 2, (n,), generator=torch.Generator().manual_seed(seed))


# ---- the official code ----


def test_fcdd_equals_the_official_code(golden):
    y = torch.where(golden["loss/labels"] == 1, -1, 1)
    losses = objectives.fcdd(golden["loss/net_out"], y)
    torch.testing.assert_close(losses, golden["loss/fcdd_per_sample"], rtol=0, atol=1e-5)
    assert losses.mean().item() == pytest.approx(float(golden["loss/fcdd_mean"]), abs=1e-5)


def test_fcdd_pixelwise_equals_the_official_code(golden):
    maps = receptive.upsample(objectives.pseudo_huber(golden["loss/net_out"]), FIELD, 28, sigma=1.2)
    losses = objectives.fcdd_pixelwise(maps, golden["loss/gtmaps"])
    torch.testing.assert_close(losses, golden["loss/fcdd_gt_per_sample"], rtol=0, atol=1e-5)
    assert losses.mean().item() == pytest.approx(float(golden["loss/fcdd_gt_mean"]), abs=1e-5)


# ---- each is a limit of its neighbour in the lineage ----


@pytest.mark.parametrize("eta", [0.1, 1.0, 7.0])
def test_deep_sad_without_labels_is_deep_svdd(eta):
    z, center = random(50, 8), random(8, seed=1)
    unlabelled = torch.zeros(50, dtype=torch.int64)
    assert torch.equal(objectives.deep_sad(z, center, unlabelled, eta), objectives.deep_svdd(z, center))


def test_deep_sad_weighs_and_inverts_labelled_samples():
    z, center = random(30, 4), random(4, seed=1)
    distance = ((z.double() - center.double()) ** 2).sum(1)
    for label, expected in ((1, 2.5 * distance), (-1, 2.5 / distance)):
        got = objectives.deep_sad(z, center, torch.full((30,), label), eta=2.5)
        torch.testing.assert_close(got.double(), expected, rtol=2e-5, atol=2e-5)


def test_deep_svdd_is_the_squared_distance():
    z, center = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([0.0, 1.0])
    assert objectives.deep_svdd(z, center).tolist() == [18.0, 1.0]


@pytest.mark.parametrize("nu", [0.01, 0.1, 1.0])
def test_soft_boundary_with_radius_0_is_deep_svdd_over_nu(nu):
    z, center = random(50, 8), random(8, seed=1)
    assert torch.equal(objectives.soft_boundary(z, center, 0.0, nu), objectives.deep_svdd(z, center) / nu)


def test_soft_boundary_is_flat_inside_and_linear_outside():
    z, center = torch.tensor([[0.5], [2.0], [3.0]]), torch.zeros(1)
    assert objectives.soft_boundary(z, center, 2.0, 0.1).tolist() == pytest.approx([4, 4, 4 + 5 / 0.1])


def test_best_radius_leaves_a_share_nu_outside():
    """For fixed outputs the soft-boundary loss is smallest where R² is the (1 - nu)-quantile of the distances."""
    z, center, nu = random(1000, 3), torch.zeros(3), 0.1
    radii = torch.linspace(0, 5, 2001)
    losses = torch.stack([objectives.soft_boundary(z, center, radius, nu).mean() for radius in radii])
    best = radii[losses.argmin()]
    assert (objectives.deep_svdd(z, center) > best**2).float().mean().item() == pytest.approx(nu, abs=0.003)


def test_fcdd_on_one_pixel_is_the_hypersphere_classifier():
    z, y = random(60, 1, scale=3), labels(60)
    torch.testing.assert_close(objectives.fcdd(z[:, :, None, None], y), objectives.hypersphere(z, y), rtol=0, atol=0)


def test_hypersphere_of_nominal_samples_only_is_their_distance():
    z = random(40, 6, scale=2)
    for nominal in (torch.ones(40), torch.zeros(40)):  # unlabelled counts as nominal
        assert torch.equal(objectives.hypersphere(z, nominal), objectives.hypersphere_distance(z))
    expected = torch.sqrt((z.double() ** 2).sum(1) + 1) - 1
    torch.testing.assert_close(objectives.hypersphere_distance(z).double(), expected, rtol=1e-6, atol=1e-7)


def test_hypersphere_is_binary_cross_entropy_of_a_radial_probability():
    z, y = random(40, 6), labels(40)
    probability = torch.exp(-(torch.sqrt((z.double() ** 2).sum(1) + 1) - 1))
    expected = torch.nn.functional.binary_cross_entropy(probability, (y >= 0).double(), reduction="none")
    torch.testing.assert_close(objectives.hypersphere(z, y).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", objectives.NORMS)
def test_norms_of_the_ablation(norm):
    z, y = random(40, 6, scale=2), labels(40)
    exact = z.double().norm(p=1 if norm == "l1" else 2, dim=1)
    exact = {"l2-squared": exact**2, "pseudo-huber": torch.sqrt(exact**2 + 1) - 1}.get(norm, exact)
    distance = objectives.hypersphere_distance(z, norm)
    torch.testing.assert_close(distance.double(), exact, rtol=1e-5, atol=1e-6)
    losses = objectives.hypersphere(z, y, norm)
    assert torch.equal(losses, torch.where(y < 0, objectives.repel(distance), distance))


def test_unknown_norm():
    with pytest.raises(ValueError, match="unknown norm 'l3'; known: l1, l2, l2-squared, pseudo-huber"):
        objectives.hypersphere(random(3, 2), labels(3), norm="l3")


def test_hypersphere_without_anomalies_and_squared_is_deep_svdd_around_the_origin():
    z = random(40, 6)
    nominal = objectives.hypersphere(z, torch.zeros(40), norm="l2-squared")
    assert torch.equal(nominal, objectives.deep_svdd(z, torch.zeros(6)))


def test_cross_entropy_and_focal_loss_as_printed():
    z, y = random(60, 1, scale=4), labels(60)
    right = torch.sigmoid(torch.where(y < 0, 1.0, -1.0) * z[:, 0].double())  # probability of the true label
    torch.testing.assert_close(objectives.bce(z, y).double(), -torch.log(right), rtol=1e-4, atol=1e-6)
    for gamma in (1.0, 2.0):
        expected = -((1 - right) ** gamma) * torch.log(right)
        torch.testing.assert_close(objectives.focal(z, y, gamma).double(), expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(objectives.focal(z, y, 0.0), objectives.bce(z, y))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_fcdd_as_printed_in_the_paper(u, v, seed):
    outputs, y = random(5, 1, u, v, seed=seed, scale=2), labels(5, seed)
    losses = objectives.fcdd(outputs, y)
    for i in range(5):
        a = sum(math.sqrt(float(p) ** 2 + 1) - 1 for p in outputs[i].flatten().double()) / (u * v)
        expected = -math.log(1 - math.exp(-a)) if y[i] < 0 else a
        assert losses[i].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_pixelwise_as_printed_and_without_the_logarithm_where_no_pixel_is_anomalous():
    maps = random(4, 1, 6, 6, seed=3).abs()
    masks = torch.zeros(4, 1, 6, 6)
    masks[1, :, 2:4, 2:5], masks[2] = 1, 1
    losses = objectives.fcdd_pixelwise(maps, masks)
    for i in range(4):
        inside = float((masks[i] * maps[i]).sum()) / 36
        expected = float(((1 - masks[i]) * maps[i]).sum()) / 36
        expected -= math.log(1 - math.exp(-inside)) if masks[i].any() else 0
        assert losses[i].item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(objectives.fcdd_pixelwise(maps, masks.bool()), losses)


def test_pixelwise_with_full_masks_is_the_image_loss_of_anomalies():
    outputs = random(6, 1, 5, 5)
    full = objectives.fcdd_pixelwise(objectives.pseudo_huber(outputs), torch.ones(6, 1, 5, 5))
    torch.testing.assert_close(full, objectives.fcdd(outputs, torch.full((6,), -1)))


# ---- numbers ----


def test_pseudo_huber_does_not_cancel():
    z = torch.logspace(-18, 4, 300)
    exact = z.double() ** 2 / (torch.sqrt(z.double() ** 2 + 1) + 1)
    torch.testing.assert_close(objectives.pseudo_huber(z).double(), exact, rtol=1e-6, atol=0)
    assert objectives.pseudo_huber(torch.zeros(1)).item() == 0
    assert torch.equal(objectives.pseudo_huber(-z), objectives.pseudo_huber(z))


def test_repel_decreases_and_is_exact():
    distance = torch.cat([torch.zeros(1), torch.logspace(-12, 2, 3000)])
    value = objectives.repel(distance)
    assert (value.diff() <= 0).all() and torch.isfinite(value).all() and (value >= 0).all()
    assert (value[distance < 10].diff() < 0).float().mean() > 0.99  # strictly, but for rounding
    exact = -torch.log(-torch.expm1(-distance[1:].double()))
    torch.testing.assert_close(value[1:].double(), exact, rtol=1e-5, atol=1e-7)


LOSSES = {
    "deep_svdd": lambda z, y: objectives.deep_svdd(z, torch.zeros(z.shape[1])),
    "soft_boundary": lambda z, y: objectives.soft_boundary(z, torch.zeros(z.shape[1]), 1.0, 0.1),
    "deep_sad": lambda z, y: objectives.deep_sad(z, torch.zeros(z.shape[1]), y),
    "hypersphere": objectives.hypersphere,
    **{f"hypersphere {norm}": partial(objectives.hypersphere, norm=norm) for norm in objectives.NORMS},
    "bce": lambda z, y: objectives.bce(z[:, :1], y),
    "focal": lambda z, y: objectives.focal(z[:, :1], y),
    "fcdd": lambda z, y: objectives.fcdd(z.reshape(len(z), 1, 2, 2), y),
    "fcdd_pixelwise": lambda z, y: objectives.fcdd_pixelwise(
        objectives.pseudo_huber(z.reshape(len(z), 1, 2, 2)), (y < 0).float().reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [1, 0, -1])
def test_losses_and_gradients_are_finite(name, label):
    distance = torch.cat([torch.zeros(1), torch.logspace(-12, 2, 200)])
    z = (distance[:, None] * torch.tensor([[1.0, -0.5, 0.0, 0.25]])).requires_grad_()
    losses = LOSSES[name](z, torch.full((len(z),), label))
    assert losses.shape == (len(z),) and losses.dtype == torch.float32 and torch.isfinite(losses).all()
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["deep_sad", "hypersphere", "fcdd", "fcdd_pixelwise"])
def test_nominal_samples_are_pulled_in_and_anomalies_pushed_out(name):
    """One step down the gradient: nearer to the center if nominal, farther if anomalous."""
    for label, sign in ((1, -1), (-1, 1)):
        z = random(20, 4).requires_grad_()
        LOSSES[name](z, torch.full((20,), label)).sum().backward()
        moved = z - 1e-4 * z.grad / z.grad.norm(dim=1, keepdim=True)
        assert (sign * (moved.norm(dim=1) - z.norm(dim=1)) > 0).all()

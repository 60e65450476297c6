"""What chapters 01 and 02 claim of the library: SVDD's limits, and the propositions about collapse."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.neighbors import KernelDensity
from torch import nn

import fcdd
from fcdd import datasets, networks, objectives
from fcdd.detectors import away_from_zero

MOONS, _ = make_moons(200, noise=0.07, random_state=0)
POINTS = np.random.default_rng(0).uniform(-2, 3, (500, 2))


@pytest.fixture(scope="module")
def images():
    return datasets.load("fashion-mnist-small", "Trouser").train.images[:200]


# ---- chapter 01 ----


def test_linear_svdd_with_nu_1_is_the_distance_to_the_mean_image(images):
    svdd = fcdd.SVDD(kernel="linear", nu=1).fit(images)
    flat = images.flatten(1).double().numpy() / 255
    mean = flat.mean(axis=0)
    np.testing.assert_allclose(svdd.center_, mean, atol=1e-9)
    np.testing.assert_allclose(svdd.anomaly_score(images), ((flat - mean) ** 2).sum(axis=1), rtol=1e-9)


def test_rbf_svdd_with_nu_1_is_a_kernel_density():
    svdd = fcdd.SVDD(gamma=4, nu=1).fit(MOONS)
    density = KernelDensity(bandwidth=8**-0.5, rtol=1e-10).fit(MOONS)
    both = svdd.score_samples(POINTS), np.exp(density.score_samples(POINTS))
    assert np.corrcoef(*both)[0, 1] > 1 - 1e-9


def test_only_support_vectors_are_rejected_when_left_out():
    svdd = fcdd.SVDD(C=1, gamma=4).fit(MOONS[:40])
    for i in range(40):
        rest = fcdd.SVDD(C=1, gamma=4).fit(np.delete(MOONS[:40], i, axis=0))
        assert i in svdd.support_ or rest.predict(MOONS[[i]])[0] == 1


# ---- chapter 02: the propositions ----


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "tanh"])
def test_zero_weights_are_the_optimum_only_if_the_center_is_zero(images, activation):
    network = networks.build("fmnist_lenet", activation=activation).eval()
    outputs = network(images.float() / 255).mean(0).detach()
    for weight in network.parameters():
        nn.init.zeros_(weight)
    center = away_from_zero(outputs)
    z = network(images.float() / 255)
    assert (objectives.deep_svdd(z, torch.zeros_like(center)) == 0).all()
    assert (objectives.deep_svdd(z, center) >= 0.999 * 0.1**2 * len(center)).all()


@pytest.mark.parametrize("name, bounded", [("leaky_relu", False), ("elu", False), ("tanh", True), ("sigmoid", True)])
def test_a_bounded_activation_turns_a_unit_into_a_constant(images, name, bounded):
    pixels = images.flatten(1).double() / 255
    out = networks.ACTIVATIONS[name]()(100 * pixels @ pixels.mean(0))
    assert (float(out.std() / out.mean()) < 1e-6) == bounded


@pytest.mark.parametrize("nu", [0.05, 0.1, 0.37, 0.5])
def test_the_best_radius_of_the_soft_boundary_is_the_quantile(nu):
    z = torch.randn(401, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    center = torch.zeros(8, dtype=torch.float64)
    distance = objectives.deep_svdd(z, center).sqrt()

    def objective(radius):
        return objectives.soft_boundary(z, center, radius, nu).mean()

    best = torch.quantile(distance, 1 - nu, interpolation="higher")
    assert all(objective(best) <= objective(radius) + 1e-12 for radius in distance)
    assert (distance > best).double().mean() <= nu

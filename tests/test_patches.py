"""The memory of good patches: distances against a plain loop, banks, and defects found without training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fcdd import datasets, metrics
from fcdd.patches import PatchNeighbours, coreset


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    )


def make(**options):
    return PatchNeighbours(**{"network": small(), "layers": (2, 4), "bank": 200, "device": "cpu"} | options)


@pytest.fixture(scope="module")
def split():
    return datasets.load("textures", "brick", size=48, train=20, test_good=6, test_each=2)


def test_distances_equal_the_loop(split):
    detector, images = make().fit(split.train.images), split.test.images[:3]
    x, maps = detector.normalisation_(images), []
    for place, layer in enumerate(small()):
        x = layer(x)
        if place in (2, 4):
            maps.append(F.avg_pool2d(x.detach().clone(), 3, 1, 1, count_include_pad=False))
    features = torch.cat(maps, 1)
    expected = np.zeros((3, 24, 24))
    for n, row, column in np.ndindex(expected.shape):
        gaps = np.linalg.norm(detector.bank_ - features[n, :, row, column].numpy(), axis=1)
        expected[n, row, column] = gaps.min()
    np.testing.assert_allclose(detector.distances(images), expected, atol=2e-3)
    np.testing.assert_allclose(detector.anomaly_score(images), expected.max((1, 2)), atol=2e-3)


def test_layers_of_two_grids_and_what_detectors_promise(split):
    detector = make(layers=(1, 4)).fit(split.train.images)
    assert detector.distances(split.test.images).shape == (18, 48, 48) and detector.bank_.shape == (200, 10)
    scores, maps = detector.anomaly_score(split.test.images), detector.anomaly_map(split.test.images)
    assert maps.shape == (18, 48, 48) and maps.dtype == scores.dtype == np.float32
    np.testing.assert_array_equal(detector.score_samples(split.test.images), -scores)
    inside = detector.decision_function(split.test.images) >= 0
    assert ((detector.predict(split.test.images) == 1) == inside).all()
    assert detector.calibration_.images == 20 and detector.calibration_.folds == 4


def test_defects_are_found_without_training(split):
    detector, test = make(sigma=1.0, bank=2000).fit(split.train.images), split.test
    assert metrics.pixel_auroc(test.masks, detector.anomaly_map(test.images)) > 0.8


def test_the_seed_decides_and_anomalies_stay_out(split):
    images = split.train.images
    first, second, other = (make(seed=seed).fit(images).bank_ for seed in (0, 0, 1))
    assert (first == second).all() and first.shape == other.shape and (first != other).any()
    y = np.r_[np.zeros(len(images)), -np.ones(5)]
    labelled = make().fit(torch.cat([images, 255 - images[:5]]), y)
    assert (labelled.bank_ == first).all()
    given = small()
    before = given[0].weight.clone()
    make(network=given).fit(images)
    assert torch.equal(given[0].weight, before) and given[0].weight.requires_grad


def test_a_coreset_leaves_no_patch_far_away(split):
    generator = torch.Generator().manual_seed(0)
    patches = torch.cat([torch.randn(500, 3, generator=generator), 20 + torch.randn(5, 3, generator=generator)])
    chosen = coreset(patches, 30, generator)
    drawn = patches[torch.randperm(505, generator=generator)[:30]]

    def farthest(bank):
        return torch.cdist(patches, bank).min(1).values.max()

    assert len(torch.unique(chosen, dim=0)) == 30 and farthest(chosen) < farthest(drawn) / 2
    assert len(coreset(patches, 600, generator)) == 505
    assert make(subsample="coreset", bank=50).fit(split.train.images).bank_.shape == (50, 10)


@pytest.mark.parametrize("options, text", [
    ({"subsample": "first"}, "unknown subsample 'first'; known: random, coreset"),
    ({"layers": (2, 9)}, r"layers from 0 to 4 of the network, got \(2, 9\)"),
    ({"bank": 0}, "a bank of at least one patch, got bank=0"),
])  # fmt: skip
def test_what_cannot_be_had(split, options, text):
    with pytest.raises(ValueError, match=text):
        make(**options).fit(split.train.images)


def test_squeezenet_without_weights():
    images = datasets.load("textures", "grass", size=64, train=6, test_good=2, test_each=1, channels=3)
    detector = PatchNeighbours(bank=100, device="cpu").fit(images.train.images)
    assert detector.bank_.shape == (100, 768) and len(detector.network_) == 11
    assert detector.anomaly_map(images.test.images).shape == (8, 64, 64)

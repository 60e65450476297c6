"""The memory of good patches: distances against a plain loop, banks, and defects found without training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fcdd
from fcdd import datasets, features, metrics
from fcdd.patches import PatchNeighbours, coreset, nearest


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    )


def make(**options):
    return PatchNeighbours(
        **{"network": small(), "layers": (2, 4), "bank": 200, "top": None, "whiten": False, "device": "cpu"} | options
    )


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
    ({"top": 0.0}, r"a share top in \(0, 1\], or None for the worst patch, got 0.0"),
])  # fmt: skip
def test_what_cannot_be_had(split, options, text):
    with pytest.raises(ValueError, match=text):
        make(**options).fit(split.train.images)


def test_the_nearest_of_the_bank_is_that_of_the_plain_search():
    """Also far from the origin, where products of float32 numbers round."""
    torch.manual_seed(0)
    patches, bank = 30 + torch.randn(3, 50, 20, 16), 30 + torch.randn(700, 16)
    plain = torch.cdist(patches.double().flatten(0, 2), bank.double()).min(1).values.view(3, 50, 20)
    torch.testing.assert_close(nearest(patches, bank).double(), plain, rtol=1e-5, atol=1e-6)
    assert (nearest(bank, bank) == 0).all()


def test_whitened_distances_are_those_between_whitened_features(split):
    detector, images = make(whiten=True).fit(split.train.images, held_out=0), split.test.images[:2]
    bank = torch.from_numpy(detector.bank_)
    weight, bias = features.whitening(bank)
    white, memory = (F.linear(part.flatten(0, -2), weight, bias) for part in (detector._features(images), bank))
    expected = torch.cdist(white.double(), memory.double()).min(1).values.view(2, 24, 24).numpy()
    np.testing.assert_allclose(detector.distances(images), expected, rtol=1e-3, atol=1e-3)
    assert (make().fit(split.train.images, held_out=0).distances(images) != detector.distances(images)).any()


def test_the_score_is_the_mean_of_the_worst_patches(split):
    images = split.test.images
    worst = np.sort(make().fit(split.train.images).distances(images).reshape(len(images), -1), axis=1)[:, ::-1]
    scores = make(top=0.05).fit(split.train.images).anomaly_score(images)
    np.testing.assert_allclose(scores, worst[:, : round(0.05 * worst.shape[1])].mean(1), rtol=1e-5)


@pytest.fixture(scope="module")
def colour():
    return datasets.load("textures", "grass", size=64, train=6, test_good=2, test_each=1, channels=3)


def test_the_backbone_in_the_package_is_the_default(colour, tmp_path):
    detector = fcdd.PatchNeighbours(device="cpu", bank=100).fit(colour.train.images, held_out=0)
    assert detector.bank_.shape == (100, 128) and detector.network_.places == (6, 13)
    maps = detector.anomaly_map(colour.test.images)
    assert maps.shape == (8, 64, 64)
    detector.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(fcdd.load(tmp_path / "m.safetensors").anomaly_map(colour.test.images), maps)
    deeper = fcdd.PatchNeighbours(layers=(3, 6, 13), device="cpu", bank=100).fit(colour.train.images, held_out=0)
    assert deeper.bank_.shape == (100, 24 + 128) and deeper.distances(colour.test.images).shape == (8, 16, 16)


def test_squeezenet_without_weights(colour):
    detector = PatchNeighbours(network="fcdd_squeezenet", bank=100, device="cpu").fit(colour.train.images)
    assert detector.bank_.shape == (100, 768) and len(detector.network_) == 11
    assert detector.anomaly_map(colour.test.images).shape == (8, 64, 64)


def test_files_from_before_score_as_they_did(colour, tmp_path, monkeypatch):
    """Without whitening, by the worst patch; an FCDD by the mean of its map."""
    from fcdd import files

    detectors = [
        PatchNeighbours(bank=100, whiten=False, top=None, device="cpu").fit(colour.train.images, held_out=0),
        fcdd.FCDD(network="fcdd_cnn32_s", exposure="confetti", epochs=1).fit(colour.train.images),
    ]
    write, gone = files.write, ("whiten", "top", "resolved")

    def as_before(path, kind, parameters, fitted, arrays):
        parameters, fitted = ({k: v for k, v in part.items() if k not in gone} for part in (parameters, fitted))
        known = detectors[1].resolved_ if kind == "FCDD" else {}
        write(path, kind, parameters | {k: v for k, v in known.items() if k not in gone}, fitted, arrays)

    monkeypatch.setattr(files, "write", as_before)
    for detector in detectors:
        detector.save(tmp_path / "m.safetensors")
        loaded, images = fcdd.load(tmp_path / "m.safetensors"), colour.test.images
        np.testing.assert_array_equal(loaded.anomaly_score(images), detector.anomaly_score(images))


def test_weights_of_the_former_default_network_still_mean_it(colour, tmp_path):
    from torchvision.models import squeezenet1_0

    torch.save(squeezenet1_0().state_dict(), tmp_path / "w.pth")
    options = {"network_options": {"weights": str(tmp_path / "w.pth")}, "bank": 100, "device": "cpu"}
    with pytest.warns(DeprecationWarning, match="name the network of these weights: network='fcdd_squeezenet'"):
        detector = PatchNeighbours(**options).fit(colour.train.images, held_out=0)
    assert detector.bank_.shape == (100, 768)

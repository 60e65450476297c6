"""FCDD on frozen features: whitening, noise, places under masks, and the detector that needs no arguments."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

import fcdd
from fcdd import augment, auto, datasets, features, mobilenet, objectives, recipes
from fcdd.metrics import pixel_auroc
from fcdd.receptive import ReceptiveField, receptive_field

QUICK = {"epochs": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def split():
    return datasets.load("textures", "brick", size=96, train=12, test_good=4, test_each=2, channels=3)


@pytest.fixture(scope="module")
def fitted(split):
    return fcdd.FCDD(**QUICK).fit(split.train.images)


# ---- what "auto" stands for ----


@pytest.mark.parametrize("shape, network, exposure, batch_size", [
    ((3, 64, 64), "fcdd_mobilenet", "feature-noise", 16),
    ((1, 300, 64), "fcdd_mobilenet", "feature-noise", 16),
    ((3, 300, 63), "fcdd_cnn32_s", "photographs", 128),
    ((3, 32, 32), "fcdd_cnn32_s", "photographs", 128),
    ((1, 28, 28), "fcdd_cnn28", "photographs", 128),
])  # fmt: skip
def test_auto_depends_on_the_images(shape, network, exposure, batch_size):
    found = auto.resolve(fcdd.FCDD().get_params(), shape)
    assert (found["network"], found["exposure"], found["batch_size"]) == (network, exposure, batch_size)
    assert "auto" not in found.values() and "device" not in found
    assert found["top"] is None or network == "fcdd_mobilenet"  # from scratch the paper's mean of the map


def test_what_is_given_wins():
    given = {"network": "fcdd_cnn224", "sigma": None, "top": 0.5, "batch_size": 3}
    found = auto.resolve(fcdd.FCDD(**given).get_params(), (3, 224, 224))
    assert not found.keys() & given and found["exposure"] == "photographs"
    assert auto.resolve(fcdd.FCDD(exposure="confetti").get_params(), (3, 96, 96))["augmentation"] == "parts"
    assert auto.resolve(fcdd.SVDD().get_params(), (3, 96, 96)) == {}


def test_it_is_resolved_in_fit_shown_and_kept(fitted, split, tmp_path):
    assert fitted.resolved_["network"] == "fcdd_mobilenet" and fitted.network == "auto"
    assert fitted.get_params() == clone(fitted).get_params()
    fitted.save(tmp_path / "m.safetensors")
    loaded = fcdd.load(tmp_path / "m.safetensors")
    assert loaded.resolved_ == fitted.resolved_ and loaded.history_ == fitted.history_
    np.testing.assert_array_equal(loaded.anomaly_map(split.test.images), fitted.anomaly_map(split.test.images))


def test_no_recipe_hides_in_the_names(fitted, split):
    """By name, as the command line asks for it, and in Python: equal scores."""
    named = recipes.detector("fcdd", tuple(split.train.images.shape[1:]), **QUICK).fit(split.train.images)
    np.testing.assert_array_equal(named.anomaly_score(split.test.images), fitted.anomaly_score(split.test.images))
    assert isinstance(recipes.detector("patches"), fcdd.PatchNeighbours)
    with pytest.raises(ValueError, match="unknown method 'svm'; known: fcdd, patches, hsc"):
        recipes.detector("svm")


def test_hsc_by_name_takes_large_images(split):
    detector = recipes.detector("hsc", (3, 96, 96), epochs=1, device="cpu").fit(split.train.images)
    assert len(detector.network_) == 6 and np.isfinite(detector.anomaly_score(split.test.images)).all()


# ---- the parts ----


def test_whitened_features_have_mean_0_and_no_correlation():
    torch.manual_seed(0)
    mixed = torch.randn(5000, 6) @ torch.randn(6, 6) * 10 + 100
    weight, bias = features.whitening(mixed, floor=0)
    white = mixed @ weight.T + bias
    torch.testing.assert_close(white.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(6), atol=1e-3, rtol=0)
    flat = torch.cat([mixed[:, :1], mixed[:, :1] + 1e-6 * torch.randn(5000, 1)], 1)
    assert features.whitening(flat)[0].abs().max() < 1  # not 1e5, as the variance of the difference would ask for


def test_noise_is_log_uniform_and_only_on_the_second_half():
    source = features.Places(torch.zeros(10, 4000), torch.empty(0, 4000), torch.Generator().manual_seed(0))
    batches = list(source.epoch(16))
    assert len(batches) == features.STEPS
    x, y, masks = batches[0]
    assert x.shape == (1, 4000, 2 * features.PLACES, 1) and masks is None
    assert (y == torch.tensor([1, -1]).repeat_interleave(features.PLACES)).all()
    nominal, noisy = x[0, :, :, 0].T.chunk(2)
    low, high = features.NOISE
    scales = noisy.std(1).log()
    assert (nominal == 0).all() and math.log(low) - 0.1 < scales.min() and scales.max() < math.log(high) + 0.1
    assert abs(scales.mean() - (math.log(low) + math.log(high)) / 2) < 0.05
    assert abs(scales.std() - math.log(high / low) / 12**0.5) < 0.05


def test_known_defects_are_drawn_too():
    source = features.Places(torch.zeros(10, 3), torch.ones(2, 3), torch.Generator().manual_seed(0))
    x, y, _ = next(source.epoch(16))
    known = x[0, :, 2 * features.PLACES :, 0]
    assert known.shape[1] == features.PLACES // 4 and (known == 1).all() and (y[2 * features.PLACES :] == -1).all()


def test_the_loss_is_that_of_fcdd_at_each_place():
    outputs, y = torch.randn(1, 1, 7, 1), torch.tensor([1, -1, 1, 1, -1, 1, -1])
    a = objectives.pseudo_huber(outputs.flatten())
    torch.testing.assert_close(features.loss(outputs, y), torch.where(y < 0, -torch.log(1 - torch.exp(-a)), a))


def test_places_under_a_mask():
    field, masks = ReceptiveField(99, 8, 7.0), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    masks[0, 0, 15, 22] = True  # the middle of row 1; between those of columns 1 (15) and 2 (23), nearer to 2
    assert features.under(masks, field, (4, 4)).nonzero().tolist() == [[0, 1, 2]]
    masks[0, 0, 15, 19] = True  # half way
    assert features.under(masks, field, (4, 4)).nonzero().tolist() == [[0, 1, 1], [0, 1, 2]]
    assert not features.under(masks[:, :, :14], field, (1, 4)).any()


def test_samples_are_of_all_images_and_of_no_place_twice():
    images = torch.arange(5.0)[:, None, None, None].expand(5, 1, 4, 4) * 16 + torch.arange(16.0).view(4, 4)
    forward = lambda x: x.permute(0, 2, 3, 1)  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    some = features.sample(forward, images, 20, generator, 2)
    assert len(some) == len(some.unique()) == 20 and (some.flatten() // 16).long().bincount().tolist() == [4] * 5
    assert features.sample(forward, images, 1000, generator, 2).sort(0).values.flatten().tolist() == list(range(80))


def test_scores_are_means_of_the_highest_share():
    maps = torch.arange(100.0).view(1, 1, 10, 10)
    assert [features.highest(maps, top).item() for top in (None, 1.0, 0.02, 1e-6)] == [49.5, 49.5, 98.5, 99]


# ---- the detector ----


def test_defects_are_found_and_only_the_head_was_trained(fitted, split):
    assert pixel_auroc(split.test.masks, fitted.anomaly_map(split.test.images)) > 0.7
    trunk = mobilenet.Joined(mobilenet.mobilenet_blocks(3), mobilenet.DEPTHS).state_dict()
    assert all(torch.equal(value, trunk[key]) for key, value in fitted.network_[0].state_dict().items())
    assert len(fitted.history_) == 4 and fitted.history_[-1] < fitted.history_[0]
    assert fitted.field_ == receptive_field(fitted.network_) == (335, 8, 5.0) and not fitted.network_.training


def test_the_seed_decides(fitted, split):
    again, other = (fcdd.FCDD(seed=seed, **QUICK).fit(split.train.images) for seed in (0, 1))
    scores = [each.anomaly_score(split.test.images) for each in (fitted, again, other)]
    assert (scores[0] == scores[1]).all() and (scores[0] != scores[2]).any()


def test_a_few_known_defects_help(split):
    """Shown with masks one of each kind, tested on the others. They come from another part of the photograph than the
    good images: were their good places not learnt from, that part would be the anomaly (AUROC .55)."""
    test = split.test
    shown = np.flatnonzero(test.anomalous)[::2]
    rest = np.setdiff1d(np.arange(len(test)), shown)
    X, y = torch.cat([split.train.images, test.images[shown]]), np.r_[np.zeros(12), -np.ones(len(shown))]
    masks = torch.cat([torch.zeros(12, 1, 96, 96, dtype=torch.bool), test.masks[shown]])
    longer = QUICK | {"epochs": 20}
    both = fcdd.FCDD(**longer).fit(split.train.images), fcdd.FCDD(**longer).fit(X, y, masks=masks)
    before, after = (pixel_auroc(test.masks[rest], d.anomaly_map(test.images[rest])) for d in both)
    assert after > before + 0.01


def test_labels_and_masks_of_defects(split):
    test = split.test
    shown = np.flatnonzero(test.anomalous)[:3]
    X, y = torch.cat([split.train.images, test.images[shown]]), np.r_[np.zeros(12), -np.ones(len(shown))]
    masks = torch.cat([torch.zeros(12, 1, 96, 96, dtype=torch.bool), test.masks[shown]])
    taught = fcdd.FCDD(**QUICK).fit(X, y, masks=masks)
    marked = fcdd.FCDD(**QUICK).fit(X, masks=masks)  # an unlabelled image with a mask is anomalous
    np.testing.assert_array_equal(marked.anomaly_score(test.images), taught.anomaly_score(test.images))
    labelled = fcdd.FCDD(**QUICK).fit(X, y)
    assert (labelled.anomaly_score(test.images) != taught.anomaly_score(test.images)).any()


def test_changed_copies_are_learnt_from_too(split):
    detector = fcdd.FCDD(augmentation="parts-any-way-up", **QUICK)
    source = detector._start(split.train.images, torch.zeros(12, dtype=torch.int64), None)
    plain = fcdd.FCDD(**QUICK)._start(split.train.images, torch.zeros(12, dtype=torch.int64), None)
    assert len(source.images) == features.COPIES * len(plain.images) == 4 * 12 * 144


def test_other_exposures_train_the_same_head(split):
    detector = fcdd.FCDD(network="fcdd_mobilenet", exposure="confetti", epochs=1, device="cpu").fit(split.train.images)
    assert detector.resolved_["augmentation"] == "parts"
    assert torch.equal(detector.network_[1].weight[..., 0, 0], torch.eye(128))  # not whitened: the head starts raw


def test_onnx_of_the_whole(fitted, split, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    fcdd.onnx.to_onnx(fitted, tmp_path / "m.onnx")
    images = split.test.images[:3]
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    scores, maps = session.run(None, {"images": augment.as_float(images).numpy()})
    np.testing.assert_allclose(scores, fitted.anomaly_score(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(maps[:, 0], fitted.anomaly_map(images), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("options, text", [
    ({"network": "fcdd_cnn224", "exposure": "feature-noise"}, "got fcdd_cnn224; use network='fcdd_mobilenet', or"),
    ({"top": 0.0}, r"a share top in \(0, 1\], or None for the mean of the map, got 0.0"),
    ({"sigma": -1.0}, "sigma > 0, or None for the default, got -1.0"),
])  # fmt: skip
def test_what_cannot_be_had(split, options, text):
    with pytest.raises(ValueError, match=text):
        fcdd.FCDD(**options, **QUICK).fit(split.train.images)


# ---- heat lies where the defect is ----


@pytest.mark.parametrize("tone", [20, 250])
@pytest.mark.parametrize("paper", ["bft01_tl", "gla01_tl"])
def test_features_change_where_a_spot_is_drawn(paper, tone):
    """Each depth is placed where its weight lies, which is not the middle of its field (:data:`mobilenet.OFFSETS`)."""
    good = datasets.load("piped-small", paper, size=(256, 256)).train.images[3]
    centers = torch.tensor([[90.0, 150], [110, 110], [131, 97], [150, 160], [163, 121], [120, 140]])
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    spots = (rows - centers[:, :1, None]) ** 2 + (columns - centers[:, 1:, None]) ** 2 < 36
    images = torch.cat([good[None], torch.where(spots[:, None], tone, good)]).float() / 127.5 - 1
    for places, offsets in (
        ((6,), mobilenet.OFFSETS[:1]),
        ((13,), mobilenet.OFFSETS[1:]),
        (mobilenet.DEPTHS, mobilenet.OFFSETS),
    ):
        trunk = mobilenet.Joined(mobilenet.mobilenet_blocks(3), places, offsets)
        maps = features.at_places(trunk, images)
        change = (maps[1:] - maps[:1]).square().sum(3)
        change = change / change.sum((1, 2), keepdim=True)
        at = trunk.field.offset + trunk.field.stride * torch.arange(change.shape[1])
        found = torch.stack([(change.sum(2) * at).sum(1), (change.sum(1) * at).sum(1)], 1)
        assert (found - centers).mean(0).abs().max() < 1.5


def test_the_memory_and_the_head_place_features_alike(fitted, split):
    memory = fcdd.PatchNeighbours(bank=50).fit(split.train.images)
    assert memory.network_.field == fitted.network_[0].field and memory.network_.field.offset == mobilenet.OFFSETS[0]
    other = fcdd.PatchNeighbours(bank=50, layers=(3, 6)).fit(split.train.images)
    assert other.network_.offsets is None

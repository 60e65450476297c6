"""Pictures scored one after another, from paths or arrays, however many; large ones in tiles."""

import itertools
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

import fcdd
from fcdd.stream import stream
from fcdd.tiled import Tiled

TINY = {"network": "fcdd_cnn28", "epochs": 1, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def detector(boots):
    return fcdd.FCDD(**TINY, nu=0.1).fit(boots.train.images[:60], held_out=0.2)


@pytest.fixture
def files(boots, tmp_path):
    for k, image in enumerate(boots.test.images[:7]):
        Image.fromarray(np.asarray(image)[0]).save(tmp_path / f"{k}.png")
    return sorted(tmp_path.iterdir())


def test_score_iter_gives_the_scores_of_the_whole(detector, boots, files):
    X = boots.test.images[:7]
    for sources, names in ((files, files), ([np.asarray(x) for x in X], range(7)), (iter(X.float() / 255), range(7))):
        found = list(detector.score_iter(sources, maps=True, batch_size=3))
        assert [each.source for each in found] == list(names) and not any(each.squeezed for each in found)
        np.testing.assert_allclose([each.score for each in found], detector.anomaly_score(X), rtol=1e-5)
        np.testing.assert_array_equal([each.verdict for each in found], detector.predict(X))
        np.testing.assert_allclose([each.map for each in found], detector.anomaly_map(X), atol=1e-5)
    assert next(detector.score_iter(files)).map is None


def test_it_takes_no_more_than_it_needs(detector, boots):
    """An endless source; of what went before nothing is kept."""
    taken, alive = [], []

    def endless():
        for k in itertools.count():
            image = boots.test.images[k % 50].numpy().copy()
            taken.append(weakref.ref(image))
            yield image

    for _ in itertools.islice(detector.score_iter(endless(), batch_size=4), 40):
        alive.append(sum(ref() is not None for ref in taken))
    assert len(taken) <= 48 and max(alive) <= 12


def test_what_cannot_be_read_is_named(detector, files):
    files[3].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"3\.png.*cannot be read"):
        list(detector.score_iter(files))
    found = list(stream(detector, files, batch_size=2))
    assert [bool(each.problem) for each in found] == [k == 3 for k in range(7)]
    assert np.isnan(found[3].score) and found[3].verdict == 0


def test_before_fit_it_says_so():
    with pytest.raises(ValueError, match="not fitted"):
        next(fcdd.FCDD().score_iter(["a.png"]))


def test_another_shape_is_noticed(detector, tmp_path):
    Image.new("L", (60, 28)).save(tmp_path / "wide.png")
    assert next(detector.score_iter([tmp_path / "wide.png"])).squeezed


# ---- in tiles ----


@pytest.fixture(scope="module")
def large():
    """Good pictures of 60×88 px of a texture, and one with a small square in it."""
    rng = np.random.default_rng(0)
    images = rng.normal(128, 12, (24, 1, 60, 88)).clip(0, 255).astype(np.uint8)
    defect = images[:1].copy()
    defect[0, 0, 40:46, 70:76] = 255
    return images, defect


def test_tiles_are_calibrated_as_pictures(large, tmp_path):
    images, defect = large
    settings = {"network": "fcdd_cnn28", "epochs": 2, "exposure": "confetti"}
    tiled = Tiled(settings=settings, tile=28, nu=0.1, device="cpu").fit(images, folds=2)
    assert tiled.calibration_.images == 24 and tiled.image_shape_ == (1, 60, 88)
    scores, maps = tiled.scores_and_maps(np.concatenate([images[:2], defect]))
    assert maps.shape == (3, 60, 88) and maps.dtype == np.float32
    whole = tiled.inner_.anomaly_score(torch.from_numpy(defect[..., 32:60, 60:88]))
    assert scores[2] >= whole.max() - 1e-5 or scores[2] > scores[:2].max()  # the worst tile speaks
    tiled.save(tmp_path / "t.safetensors")
    again = fcdd.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(again.anomaly_score(defect), tiled.anomaly_score(defect))
    assert again.calibration_ == tiled.calibration_ and again.predict(defect) == tiled.predict(defect)
    np.testing.assert_array_equal(again.calibration_scores_, tiled.calibration_scores_)


def test_tiles_want_masks_of_defects(large):
    images, defect = large
    X, y = np.concatenate([images[:6], defect]), np.array([0] * 6 + [-1])
    with pytest.raises(ValueError, match="expected masks for anomalous pictures that are cut into tiles"):
        Tiled(settings={"network": "fcdd_cnn28", "epochs": 1}, tile=28).fit(X, y)
    with pytest.raises(ValueError, match="no larger than the picture"):
        Tiled(settings={"network": "fcdd_cnn28", "epochs": 1}, tile=64).fit(images)


def test_a_folder_is_learnt_from(boots, tmp_path):
    for k, image in enumerate(boots.train.images[:12]):
        Image.fromarray(np.asarray(image)[0]).resize((64, 64)).save(tmp_path / f"{k}.png")
    memory = fcdd.PatchNeighbours(bank=100, device="cpu", nu=0.2).fit(tmp_path)
    assert memory.image_shape_ == (3, 256, 256) and memory.calibration_.images == 12
    with pytest.raises(ValueError, match="trains in no epochs"):
        memory.fit(tmp_path, checkpoint=tmp_path / "c")

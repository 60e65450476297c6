"""The semi-supervised split: what moves, what stays, and what leaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcdd import FCDD, datasets
from fcdd_study.defects import measurable, with_defects
from fcdd_study.textures import DEFECTS


@pytest.fixture(scope="module")
def split():
    return datasets.load("textures", "brick", size=32, train=12, test_good=3, test_each=4)


def kinds(names):
    return [name.split("/")[0] for name in names]


@pytest.mark.parametrize("k", [1, 3])
def test_k_of_each_type_move_with_their_masks(split, k):
    semi = with_defects(split, k, seed=1)
    moved = semi.train.y.numpy() == -1
    assert moved.sum() == 6 * k and (semi.train.anomalous == moved).all()
    assert all(kinds(semi.train.names[moved]).count(kind) == k for kind in set(kinds(semi.train.names[moved])))
    assert len(semi.test) == len(split.test) - 6 * k and not set(semi.test.names) & set(semi.train.names[moved])
    assert not semi.train.masks[~moved].any() and semi.train.masks[moved].flatten(1).any(1).all()
    for name, image, mask in zip(
        semi.train.names[moved], semi.train.images[moved], semi.train.masks[moved], strict=True
    ):
        place = list(split.test.names).index(name)
        assert torch.equal(image, split.test.images[place]) and torch.equal(mask, split.test.masks[place])
    assert len(split.test) == 27 and split.train.masks is None  # the old one is as it was


def test_the_leak_keeps_the_test_images(split):
    semi, leaky = with_defects(split, seed=2), with_defects(split, seed=2, leak=True)
    assert torch.equal(leaky.test.images, split.test.images) and torch.equal(leaky.train.images, semi.train.images)
    assert set(leaky.train.names[leaky.train.anomalous]) < set(leaky.test.names)


def test_the_seed_draws_them(split):
    drawn = [tuple(with_defects(split, seed=seed).train.names) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_share_repeats_them(split):
    semi = with_defects(split, share=0.5)
    assert semi.train.anomalous.mean() == 0.5 and len(np.unique(semi.train.names[semi.train.anomalous])) == 6


def test_fcdd_learns_from_it(split):
    semi = with_defects(split)
    detector = FCDD(
        network="fcdd_cnn28", objective="pixels", exposure=None, augmentation="parts", epochs=1, device="cpu"
    )
    detector.fit(semi.train.images, semi.train.y, masks=semi.train.masks)
    assert detector.anomaly_map(semi.test.images).shape == (21, 32, 32)


def test_what_cannot_be_had(split):
    with pytest.raises(ValueError, match="1 to 3 training images of defect crack, got 4"):
        with_defects(split, 4)
    with pytest.raises(ValueError, match="share of defective images between 0 and 1, got 1"):
        with_defects(split, share=1)
    with pytest.raises(ValueError, match="expected defective test images with masks in fashion-mnist-small"):
        with_defects(datasets.load("fashion-mnist-small", "Bag"))


# ---- defects drawn where there are none, or no masks ----


def without(split, what):
    """The split without masks, without defective images, or without any test image."""
    test = split.test
    if what == "masks":
        return replace(split, test=replace(test, masks=None))
    if what == "one mask":
        masks = test.masks.clone()
        masks[np.flatnonzero(test.anomalous)[3]] = False
        return replace(split, test=replace(test, masks=masks))
    return replace(split, test=test.take(np.flatnonzero(~test.anomalous) if what == "defects" else []))


@pytest.fixture(scope="module")
def textures():
    return datasets.load("textures", "brick", size=32, train=40, test_good=9, test_each=2)


def test_a_split_with_masks_stays_as_it_is(textures):
    assert measurable(textures) is textures


@pytest.mark.parametrize("what", ["masks", "one mask", "defects"])
def test_defects_are_drawn_on_good_test_images(textures, what):
    split = measurable(without(textures, what), seed=3)
    test, good = split.test, textures.test.images[~textures.test.anomalous]
    assert torch.equal(split.train.images, textures.train.images)
    assert torch.equal(test.images[~test.anomalous], good) and (~test.anomalous).sum() == 9
    assert set(kinds(test.names[test.anomalous])) == set(DEFECTS) and test.anomalous.sum() == 24
    assert test.masks.flatten(1).any(1).tolist() == test.anomalous.tolist()
    assert (test.y.numpy() == np.where(test.anomalous, -1, 1)).all()
    for image, mask in zip(test.images[test.anomalous], test.masks[test.anomalous], strict=True):
        changed = (image != good).any(1, keepdim=True)
        assert any(torch.equal(mask, each) for each in changed)  # exactly where it differs from one of the good ones
    assert "drawn" in split.name and "defects drawn on its good test images" in repr(split)
    again, other = (measurable(without(textures, what), seed=seed) for seed in (3, 4))
    assert torch.equal(again.test.images, test.images) and not torch.equal(other.test.images, test.images)


def test_good_images_are_held_out_where_none_are_there_to_test(textures):
    split = measurable(without(textures, "all"))
    assert len(split.train) == 32 and (~split.test.anomalous).sum() == 8
    assert "defects drawn on 8 good images that were held out" in repr(split)
    trained = {image.numpy().tobytes() for image in split.train.images}
    assert not trained & {image.numpy().tobytes() for image in split.test.images}


def test_too_few_good_images_to_measure_with():
    few = datasets.load("textures", "brick", size=32, train=12, test_good=3, test_each=1)
    with pytest.raises(ValueError, match="expected at least 16 good images to draw defects on some, got 12"):
        measurable(without(few, "defects"))

"""Defects drawn where a split has none, or no masks: exact, by seed, on images that were not learnt from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcdd import datasets
from fcdd_study.drawn import measurable
from fcdd_study.textures import DEFECTS


def kinds(names):
    return [name.split("/")[0] for name in names]


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

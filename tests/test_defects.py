"""The semi-supervised split: what moves, what stays, and what leaks."""

import numpy as np
import pytest
import torch

from fcdd import FCDD, datasets
from fcdd_study.defects import with_defects


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

"""The embedded textures: disjoint regions, exact masks, one seed one set, defects large and small."""

import numpy as np
import pytest
import torch

from fcdd_study import textures as module
from fcdd_study.textures import DEFECTS, TEXTURES, damage, textures


@pytest.fixture(scope="module")
def splits():
    return {name: textures(name, size=96, train=40, test_good=6, test_each=6) for name in TEXTURES}


@pytest.mark.parametrize("name", TEXTURES)
def test_a_split_like_that_of_a_folder(splits, name):
    split = splits[name]
    assert split.name == f"textures/{name}" and split.normal == "good"
    assert split.train.images.shape == (40, 1, 96, 96) and split.train.images.dtype == torch.uint8
    assert split.test.images.shape == (42, 1, 96, 96) and len(split.train.names) == 40
    assert split.train.y.tolist() == [0] * 40 and not split.train.anomalous.any() and split.train.masks is None
    assert split.test.y.tolist() == [1] * 6 + [-1] * 36 and split.test.anomalous.tolist() == [False] * 6 + [True] * 36
    assert split.test.names[[0, 6, 11, 12]].tolist() == ["good/000", "scratch/000", "scratch/005", "hole/000"]
    assert split.test.masks.shape == (42, 1, 96, 96) and split.test.masks.dtype == torch.bool
    assert split.test.masks.flatten(1).any(1).tolist() == split.test.anomalous.tolist()


@pytest.mark.parametrize("name", TEXTURES)
def test_regions_are_disjoint(splits, name):
    """Every window lies where it should: the good ones are found in the photograph, on their side of the seam."""
    from skimage import data

    photograph = getattr(data, name)()
    split = splits[name]
    for images, region in (
        (split.train.images, photograph[:, : module.SEAM]),
        (split.test.images[:6], photograph[:, module.SEAM :]),
    ):
        rows = {bytes(row) for row in np.lib.stride_tricks.sliding_window_view(region, 96, axis=1).reshape(-1, 96)}
        assert all(bytes(row) in rows for row in images[:, 0].reshape(-1, 96).numpy())


def test_masks_are_exact():
    """A pixel is marked if and only if it differs: without defects, the same seed draws the same clean windows."""
    split, rng = textures("brick", size=64, train=3, test_good=2, test_each=2), np.random.default_rng([0, 0])
    from skimage import data

    module._windows(data.brick()[:, : module.SEAM], 64, 3, rng)
    clean = module._windows(data.brick()[:, module.SEAM :], 64, 14, rng)
    assert np.array_equal(split.test.masks[:, 0].numpy(), split.test.images[:, 0].numpy() != clean)


def test_same_seed_same_textures():
    first, again, other = (textures("grass", size=48, train=4, test_each=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.images, again.train.images) and torch.equal(first.test.images, again.test.images)
    assert torch.equal(first.test.masks, again.test.masks)
    assert not torch.equal(first.train.images, other.train.images)
    assert not torch.equal(first.test.images, other.test.images)


@pytest.mark.parametrize("kind", DEFECTS)
def test_defects_are_varied(splits, kind):
    """Small and large, strong and faint ones of every kind."""
    areas, changes = [], []
    for name in TEXTURES:
        split = textures(name, size=128, train=1, test_good=1, test_each=20, seed=3)
        chosen = [str(n).startswith(kind) for n in split.test.names]
        areas += split.test.masks[chosen].sum((1, 2, 3)).tolist()
    assert min(areas) >= 12 and max(areas) > 4 * min(areas) and max(areas) < 128**2 / 4
    ground = np.full((128, 128), 120, np.uint8)
    ground[::2] = 130
    for seed in range(40):
        after = damage(ground, kind, np.random.default_rng(seed))
        changes.append(np.abs(after.astype(int) - ground)[after != ground].mean())
    assert max(changes) > 1.5 * min(changes)
    if kind in ("scratch", "stain"):
        assert min(changes) < 20  # faint


def test_defect_lies_where_it_is_wanted():
    ground = np.full((100, 100, 3), 120, np.uint8)
    for kind in ("hole", "stain"):
        after = damage(ground, kind, np.random.default_rng(0), center=(20, 70))
        rows, columns = np.nonzero((after != ground).any(2))
        assert abs(rows.mean() - 20) < 5 and abs(columns.mean() - 70) < 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 100, 224])
def test_sizes_and_channels(size, channels):
    split = textures("gravel", size=size, channels=channels, train=2, test_good=1, test_each=1)
    assert split.train.images.shape == (2, channels, size, size)
    assert split.test.masks.shape == (7, 1, size, size)
    assert (split.test.images == split.test.images[:, :1]).all()


@pytest.mark.parametrize("options, text", [
    ({"normal": "sand"}, "unknown texture 'sand'; known: brick, grass, gravel"),
    ({"normal": "brick", "size": 300}, "windows of 16 to 224 px with 1 or 3 channels, got 300 px, 1 channels"),
    ({"normal": "brick", "channels": 2}, "got 128 px, 2 channels"),
])  # fmt: skip
def test_bad_input(options, text):
    with pytest.raises(ValueError, match=text):
        textures(**options)


def test_defects_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="unknown defect 'rust'; known: scratch, hole"):
        damage(np.zeros((9, 9), np.uint8), "rust", np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="a stain cannot be seen on this image"):
        damage(np.zeros((20, 20), np.uint8), "stain", np.random.default_rng(0))  # black stays black

"""Outlier exposure: photographs, data sets, folders, arrays; and the statistics of confetti."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from fcdd import datasets, exposure


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blank(n=8, channels=1, size=(28, 28), value=0):
    return torch.full((n, channels, *size), value, dtype=torch.uint8)


# ---- photographs ----


@pytest.mark.parametrize("channels, size", [(1, (28, 28)), (3, (32, 32)), (3, (40, 24))])
def test_photographs(channels, size):
    crops = exposure.photographs(channels, size, count=500, seed=3)
    assert crops.shape == (500, channels, *size) and crops.dtype == torch.uint8
    assert torch.equal(crops, exposure.photographs(channels, size, count=500, seed=3))
    assert not torch.equal(crops, exposure.photographs(channels, size, count=500, seed=4))
    assert len(torch.unique(crops.flatten(1), dim=0)) > 400
    assert crops.float().std() > 30  # pictures, not a flat ground


def test_photographs_hold_fine_texture_and_whole_scenes():
    """Crops of the whole, shrunk photograph hold more contrast than crops at full resolution: both are there."""
    contrast = exposure.photographs(1, (28, 28), count=2000).float().std((1, 2, 3))
    assert contrast.quantile(0.1) < 15 and contrast.quantile(0.9) > 50


def test_photographs_are_in_random_order():
    means = exposure.photographs(1, (28, 28), count=2000).float().mean((1, 2, 3))
    assert abs(means[:1000].mean() - means[1000:].mean()) < 5


# ---- sources ----


def drawn(source, n=400, channels=1, size=(28, 28), seed=0, **options):
    draw = exposure.source(source, channels, size, **options)
    return draw(blank(n, channels, size), generator(seed))


def test_an_array_is_drawn_from_with_equal_probability():
    bank = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 1, 28, 28)
    images = drawn(bank, n=5000)
    counts = torch.bincount(images[:, 0, 0, 0].long(), minlength=10)
    assert images.shape == (5000, 1, 28, 28) and images.dtype == torch.uint8
    assert (abs(counts - 500) < 100).all()
    assert torch.equal(images, drawn(bank.numpy(), n=5000))


@pytest.mark.parametrize("limit", [1, 3, 5000])
def test_limit_leaves_at_most_that_many_images(limit):
    images = drawn("photographs", limit=limit, seed=1)
    distinct = torch.unique(images.flatten(1), dim=0)
    assert len(distinct) == limit if limit < 10 else 300 < len(distinct) <= 400
    assert torch.equal(images, drawn("photographs", limit=limit, seed=1))


def test_the_images_of_a_limit_come_from_the_seed():
    bank = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(200, 1, 28, 28)
    kept = [set(exposure.source(bank, 1, (28, 28), seed=seed, limit=4)(blank(200), generator())[:, 0, 0, 0].tolist())
            for seed in range(4)]  # fmt: skip
    assert all(len(each) == 4 for each in kept) and len(set.union(*kept)) > 8


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_is_refused(limit):
    with pytest.raises(ValueError, match=f"limit.*{limit}"):
        exposure.source("photographs", 1, (28, 28), limit=limit)


def test_a_data_set_by_name():
    bank = datasets.load_all("fashion-mnist-small")
    images = drawn("fashion-mnist-small", n=30)
    assert all((bank == image).flatten(1).all(1).any() for image in images)


def test_a_folder(tmp_path):
    for k in range(3):
        Image.new("RGB", (50, 40), (k, 2 * k, 3 * k)).save(tmp_path / f"{k}.png")
    images = drawn(tmp_path, channels=3, size=(16, 16))
    assert set(images[:, 2, 3, 3].tolist()) == {0, 3, 6}
    assert torch.equal(images, drawn(str(tmp_path), channels=3, size=(16, 16)))


def test_channels_and_size_are_made_to_fit():
    colour = torch.zeros(2, 3, 60, 60, dtype=torch.uint8)
    colour[:, 0] = 200
    grey = exposure.fit_to(colour, 1, (28, 28))
    assert grey.shape == (2, 1, 28, 28) and (grey == round(0.299 * 200)).all()
    wide = exposure.fit_to(grey, 3, (20, 30))
    assert wide.shape == (2, 3, 20, 30) and (wide == 60).all()
    assert torch.equal(exposure.fit_to(torch.full((1, 1, 4, 4), 0.5), 1, (4, 4)), torch.full((1, 1, 4, 4), 128).byte())


@pytest.mark.parametrize("source", ["cifar-1000", "no/such/folder"])
def test_unknown_sources(source):
    with pytest.raises(
        ValueError, match=f"unknown exposure '{source}': no such folder; expected 'photographs', 'confetti'"
    ):
        exposure.source(source, 1, (28, 28))


@pytest.mark.parametrize(
    "source, text", [(3, "exposure to be an array"), (np.zeros((2, 28, 28)), "add the channel axis")]
)
def test_arrays_that_are_no_images(source, text):
    with pytest.raises(ValueError, match=text):
        exposure.source(source, 1, (28, 28))


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected images below"):
        exposure.source(tmp_path, 1, (28, 28))


# ---- confetti ----


@pytest.mark.parametrize(
    "channels, size, ground", [(1, (28, 28), 255), (3, (64, 64), 200), (3, (96, 64), 0), (1, (28, 28), 0)]
)
def test_confetti_changes_every_image(channels, size, ground):
    nominal = blank(300, channels, size, ground)
    images = exposure.confetti(nominal, generator(2))
    assert images.shape == nominal.shape and images.dtype == torch.uint8
    changed = (images != nominal).any(1).flatten(1).float().mean(1)
    visible = (images.int() - nominal.int()).abs().amax((1, 2, 3))
    assert (visible > 5).float().mean() > 0.95  # at least one blob is seen
    assert 0.02 < changed.mean() < 0.6  # blobs, not a new image
    assert torch.equal(images, exposure.confetti(nominal, generator(2)))
    assert not torch.equal(images, exposure.confetti(nominal, generator(3)))


def test_confetti_darkens_bright_ground_and_brightens_dark():
    bright, dark = blank(200, 3, (64, 64), 220), blank(200, 3, (64, 64), 0)
    assert (exposure.confetti(bright, generator()) <= bright).all()
    assert (exposure.confetti(dark, generator()) >= dark).all()


def test_confetti_squares_have_the_papers_size():
    """Alone on its picture, a square's side lies between 1/30 and 1/4 of the picture, blur aside."""
    nominal = blank(400, 1, (96, 96), 255)
    change = (nominal.int() - exposure.confetti(nominal, generator(1)).int()).numpy()[:, 0]
    assert change.min() >= 0 and change.max() > 200
    areas = []
    for picture in change:
        found, count = ndimage.label(picture > 60)
        areas += list(ndimage.sum(picture > 60, found, range(1, count + 1)))
    sides = np.sqrt(areas)
    assert np.quantile(sides, 0.9) < 96 / 4 * 1.6 and np.median(sides) > 96 / 30


def test_confetti_has_dark_and_coloured_blobs():
    nominal = blank(300, 3, (64, 64), 255)
    change = (nominal.int() - exposure.confetti(nominal, generator()).int()).amax((2, 3)).float()  # (N, 3)
    grey = (change.amax(1) - change.amin(1)) < 20
    assert 0.1 < grey.float().mean() < 0.9


def test_confetti_is_painted_on_the_image_it_got():
    nominal = datasets.load_all("fashion-mnist-small")[:50]
    images = exposure.confetti(nominal, generator())
    same = (images == nominal).float().flatten(1).mean(1)
    assert (same > 0.2).all() and same.mean() > 0.5
    assert exposure.source("confetti", 1, (28, 28)) is exposure.confetti

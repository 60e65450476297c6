"""Outlier exposure: photographs, data sets, folders, arrays."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

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
    return draw(blank(n, channels, size), generator(seed))[0]


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
    kept = [set(exposure.source(bank, 1, (28, 28), seed=seed, limit=4)(blank(200), generator())[0][:, 0, 0, 0].tolist())
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


def test_many_images_are_converted_block_by_block(monkeypatch):
    """The same images whatever the blocks; no block is larger than it should be."""
    images = torch.randint(0, 256, (50, 3, 20, 24), generator=generator(), dtype=torch.uint8)
    whole, sizes, plain = exposure.fit_to(images, 1, (10, 12)), [], exposure._fit_block
    monkeypatch.setattr(exposure, "BLOCK", 7)
    monkeypatch.setattr(exposure, "_fit_block", lambda block, *rest: sizes.append(len(block)) or plain(block, *rest))
    assert torch.equal(exposure.fit_to(images, 1, (10, 12)), whole) and whole.dtype == torch.uint8
    assert sizes == [7] * 7 + [1]
    assert exposure.fit_to(images, 3, (20, 24)) is images  # nothing to do


def test_resizing_rounds_instead_of_cutting_off():
    images = torch.tensor([[0, 3], [0, 3]], dtype=torch.uint8)[None, None]
    assert exposure.fit_to(images, 1, (1, 1)).item() == 2  # the mean is 1.5
    noise = torch.randint(0, 256, (20, 1, 31, 31), generator=generator(), dtype=torch.uint8)
    exact = torch.nn.functional.interpolate(noise.double(), size=(16, 16), mode="bilinear", antialias=True)
    assert (exposure.fit_to(noise, 1, (16, 16)).double() - exact).abs().max() <= 0.501


# ---- classes and folders left out ----


def test_classes_of_a_data_set_are_left_out():
    left = datasets.load_all("fashion-mnist-small", without=["Bag"])
    images = drawn("fashion-mnist-small", n=2000, without=["Bag"])
    assert np.isin(exposure._hashes(images), exposure._hashes(left)).all()
    some = drawn("fashion-mnist-small", n=2000, without=["Bag"], limit=7)
    chosen = left[torch.randperm(len(left), generator=generator(0))[:7]]
    assert set(exposure._hashes(some)) == set(exposure._hashes(chosen))


def test_a_data_set_with_its_own_size_and_colour(tmp_path, monkeypatch):
    """Photographs of any size, decoded at the size that is asked for, made grey."""
    for wnid, colour in (("n01443537", (200, 100, 50)), ("n02690373", (0, 0, 255))):  # goldfish, airliner
        (tmp_path / "imagenet" / "train" / wnid).mkdir(parents=True)
        Image.new("RGB", (90, 70), colour).save(tmp_path / "imagenet" / "train" / wnid / "0.png")
    monkeypatch.setenv("FCDD_DATA", str(tmp_path))
    monkeypatch.setattr("fcdd.datasets.fetch.cache", lambda: tmp_path / "none")
    assert set(drawn("imagenet", channels=3, size=(24, 20)).flatten(2).amax(2)[:, 0].tolist()) == {0, 200}
    images = drawn("imagenet", size=(28, 28), without="cifar10")
    assert (images == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()


def test_sub_folders_are_left_out(tmp_path):
    for k, name in enumerate(("apple", "pear")):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8), 100 * k).save(tmp_path / name / "0.png")
    assert (drawn(tmp_path, without=["apple"]) == 100).all() and (drawn(str(tmp_path), without="pear") == 0).all()
    with pytest.raises(ValueError, match="unknown sub-folder: 'aple'; close to it: apple"):
        drawn(tmp_path, without=["aple"])


@pytest.mark.parametrize("source, named", [
    ("photographs", "exposure='photographs'"), ("confetti", "exposure='confetti'"), (blank(3), "an array"),
])  # fmt: skip
def test_nothing_can_be_left_out_of_what_has_no_classes(source, named):
    text = rf"expected exposure_without for a data set or a folder only, got \['a'\] for {named}"
    with pytest.raises(ValueError, match=text):
        exposure.source(source, 1, (28, 28), without=["a"])


# ---- nominal images among the outliers ----


def test_nominal_images_in_the_exposure_are_told():
    nominal = datasets.load("fashion-mnist-small", "Bag").train.images
    text = (
        r"the exposure set holds 1,000 of your 1,000 nominal images \(10 % of its 10,000 images\), which training "
        r"would call nominal and anomalous at once; leave their class out with exposure_without="
    )
    for given in (nominal, nominal.float() / 255):
        with pytest.warns(UserWarning, match=text):
            exposure.source("fashion-mnist-small", 1, (28, 28), nominal=given)
    with pytest.warns(UserWarning, match=r"holds 600 of your 1,000 nominal images \(100 % of its 600 images"):
        exposure.source(nominal[:600], 1, (28, 28), nominal=nominal)
    bank = torch.cat([nominal[:1], nominal[:1], 255 - nominal[:38]])
    with pytest.warns(UserWarning, match=r"holds 1 of your 1,000 nominal images \(5 % of its 40 images"):
        exposure.source(bank, 1, (28, 28), nominal=nominal)


@pytest.mark.parametrize("source, options", [
    ("fashion-mnist-small", {"without": ["Bag"]}), ("photographs", {}), ("confetti", {}),
])  # fmt: skip
def test_no_warning_without_reason(source, options):
    nominal = datasets.load("fashion-mnist-small", "Bag").train.images
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exposure.source(source, 1, (28, 28), nominal=nominal, **options)


def test_images_that_differ_in_one_pixel_differ_in_hash():
    """Also in steps of 128, whose products could vanish in 64 bits, and in any two pixels."""
    images = blank(784 * 2, value=7)
    images.flatten(1)[torch.arange(784 * 2), torch.arange(784).repeat(2)] += (
        torch.tensor([1, 128]).repeat_interleave(784).to(torch.uint8)
    )
    assert len(np.unique(exposure._hashes(images))) == len(images)
    pairs = blank(784)
    pairs.flatten(1)[:, 0] = 128
    pairs.flatten(1)[torch.arange(1, 784), torch.arange(1, 784)] = 128
    assert len(np.unique(exposure._hashes(pairs))) == len(pairs)
    assert len(np.unique(exposure._hashes(pairs[[3, 3, 3]]))) == 1


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


# ---- confetti ---- (its statistics: test_confetti.py)


def test_confetti_comes_with_and_without_masks():
    nominal = datasets.load_all("fashion-mnist-small")[:50]
    images, everywhere = exposure.source("confetti", 1, (28, 28))(nominal, generator())
    same, masks = exposure.source("confetti-masks", 1, (28, 28))(nominal, generator())
    assert everywhere is None and torch.equal(images, same)
    assert torch.equal(masks, (images != nominal).any(1, keepdim=True)) and masks.any() and not masks.all()

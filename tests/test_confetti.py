"""Confetti noise: the statistics of the official code, measured; masks; determinism."""

import math

import numpy as np
import pytest
import torch
from conftest import SHARED
from scipy import ndimage, stats

from fcdd import confetti as module
from fcdd.confetti import confetti, confetti_with_masks
from fcdd.datasets import fetch, mvtec


def grey(n, value=255, size=(240, 240), channels=3):
    return torch.full((n, channels, *size), value, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("probability, expected", [(module.COLOURED, 1.61), (module.WHITE, 1.39)])
def test_number_of_squares(probability, expected):
    """Binomial over 57,600 pixels, given at least one."""
    counts = module._counts(200_000, probability, generator()).numpy()
    assert counts.min() == 1 and counts.mean() == pytest.approx(expected, abs=0.01)
    rate = 240**2 * probability
    law = stats.poisson.pmf(np.arange(1, 5), rate) / (1 - math.exp(-rate))
    np.testing.assert_allclose([(counts == k).mean() for k in range(1, 5)], law, atol=0.005)


def separate(coloured, n=500):
    """Squares that touch neither the border nor each other: their colours (k, 3), areas (k,) and corners' reach."""
    noise = module._layer((n, 3, 240, 240), module.COLOURED, module.SIDES, generator(1), coloured)
    found = []
    for image in noise.numpy().astype(int):
        regions, count = ndimage.label(image.any(0))
        for place in ndimage.find_objects(regions):
            inside = image[(slice(None), *place)]
            touches = min(p.start for p in place) == 0 or max(p.stop for p in place) == 240
            pixels = inside[:, inside.any(0)]
            if not touches and (pixels == pixels[:, :1]).all():
                found.append((*pixels[:, 0], pixels.shape[1], place[0].stop - place[0].start))
    return np.array(found)


def test_sides_colours_and_turns_of_coloured_squares():
    found = separate(coloured=True)
    colours, sides = found[:, :3], np.sqrt(found[:, 3])
    assert len(found) > 300
    assert colours.min() >= -256 and colours.max() <= -1
    assert colours.mean() == pytest.approx(-128.5, abs=6) and colours.std() == pytest.approx(74, abs=5)
    assert np.abs(np.corrcoef(colours.T)[np.triu_indices(3, 1)]).max() < 0.2  # channel by channel
    # Large squares touch border and neighbours more often, so the mean of those found is a little below 31.
    assert 7.5 < sides.min() < 9 and 52 < sides.max() < 54.6 and 27 < sides.mean() < 32
    width = found[:, 4] / sides  # of the upright box around a square turned by a: cos a + sin |a|
    expected = np.mean(np.cos(t := np.linspace(0, np.pi / 4, 1000)) + np.sin(t))
    assert width.mean() == pytest.approx(expected, abs=0.05) and width.max() < math.sqrt(2) + 0.1


def test_sides_are_uniform():
    """Small squares hardly ever meet, so all sides are found."""
    noise = module._layer((1000, 1, 240, 240), module.WHITE, (8, 11), generator(2))
    found = [ndimage.sum_labels(image, *_labels(image)) for image in (noise[:, 0] != 0).numpy()]
    sides = np.sqrt(np.concatenate(found))
    share = np.histogram(sides, [7.5, 8.5, 9.5, 10.5, 11.5])[0] / len(sides)
    np.testing.assert_allclose(share, 0.25, atol=0.05)


def _labels(image):
    regions, count = ndimage.label(image)
    return regions, np.arange(1, count + 1)


def test_white_squares_take_all_light():
    found = separate(coloured=False, n=150)
    assert (found[:, :3] == -255).all()


def test_centers_are_uniform():
    noise = module._layer((1500, 1, 240, 240), module.WHITE, (8, 8), generator(3))
    quarters = (noise[:, 0] != 0).float().reshape(-1, 2, 120, 2, 120).mean((0, 2, 4))
    assert (quarters / quarters.mean() - 1).abs().max() < 0.1


def test_light_is_taken_away_and_share_of_pixels():
    images, masks = confetti_with_masks(grey(150), generator())
    assert images.dtype == torch.uint8 and images.shape == (150, 3, 240, 240)
    assert masks.dtype == torch.bool and masks.shape == (150, 1, 240, 240)
    assert masks.flatten(1).any(1).all()  # every image has at least one of each kind
    # 3.0 squares of 31 px, blurred: about 3 · (31 + 2 · 9)² / 240² of the pixels, less what lies outside and overlaps.
    assert 0.08 < masks.float().mean() < 0.15
    assert images.amin((1, 2, 3)).float().mean() < 60


def test_blur_of_an_edge():
    """Sigma 5 with 25 taps: an edge falls from 84 to 16 % over two sigma, and is over 12 px away."""
    edge = torch.zeros(1, 1, 240, 240)
    edge[..., 120:] = 1
    row = module._blur(edge)[0, 0, 100]
    assert row[107] == pytest.approx(0, abs=1e-6) and row[132] == pytest.approx(1, abs=1e-6)
    assert row[115].item() == pytest.approx(stats.norm.cdf(-4.5 / 5), abs=0.02)
    torch.testing.assert_close(module._blur(torch.ones(1, 2, 240, 200)), torch.ones(1, 2, 240, 200))  # mirrored border


def test_masks_are_the_pixels_that_differ():
    nominal = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8, generator=generator(5))
    images, masks = confetti_with_masks(nominal, generator(6))
    assert torch.equal(masks[:, 0], (images != nominal).any(1))
    assert torch.equal(images, confetti(nominal, generator(6)))


def test_squares_become_light_on_black_ground_only():
    images, masks = confetti_with_masks(grey(50, 0), generator())
    assert masks.flatten(1).any(1).all() and images.float().mean() > 1
    bright = confetti(grey(50, 128), generator())
    assert (bright <= 128).all()


def test_same_seed_same_confetti():
    nominal = grey(8, 200, (64, 64))
    torch.manual_seed(0)
    first = confetti(nominal, generator(3))
    torch.manual_seed(1)
    assert torch.equal(first, confetti(nominal, generator(3)))
    assert not torch.equal(first, confetti(nominal, generator(4)))
    assert (nominal == 200).all()
    drawn = generator(3)
    assert not torch.equal(confetti(nominal, drawn), confetti(nominal, drawn))  # the generator moves on


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (224, 224), (120, 480), (200, 90), (7, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_sizes_cover_the_same_share(size, channels):
    n = max(20, 100_000 // (size[0] * size[1]))
    images, masks = confetti_with_masks(grey(n, 255, size, channels), generator(1))
    assert images.shape == (n, channels, *size)
    if min(size) > 7:
        assert 0.05 < masks.float().mean() < 0.25


def test_size_of_squares_can_be_chosen():
    small, large = (confetti_with_masks(grey(50), generator(), sides=s)[1].float().mean() for s in ((3, 8), (40, 54)))
    assert small < large / 4


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="expected uint8 images, got torch.float32; use fcdd.augment.as_uint8"):
        confetti(torch.rand(1, 3, 8, 8), generator())


def test_confetti_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    draw = [confetti(grey(8).cuda(), torch.Generator("cuda").manual_seed(0)) for _ in range(2)]
    assert draw[0].is_cuda and torch.equal(*draw)


def test_confetti_on_real_bottles(tmp_path, monkeypatch):
    if not (SHARED / "data" / "mvtec_ad_256_bottle_screw.tar").exists():
        pytest.skip("needs MVTec-AD's bottle in the shared data")
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path)
    nominal = mvtec.mvtec("bottle", root=SHARED / "data").train.images[:20]
    images, masks = confetti_with_masks(nominal, generator())
    share = masks.float().mean((1, 2, 3))
    assert (share > 0.001).all() and share.max() < 0.6
    assert ((images.float() - nominal).abs().mean((1, 2, 3)) > module.VISIBLE).all()

"""Gradient heatmaps against finite differences, and the scaling of heatmaps for display."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fcdd import explain, objectives


def network(channels=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 36, 4)).double()


def test_gradient_maps_equal_finite_differences():
    images = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    net, step = network(), 1e-6
    maps = explain.gradient_maps(net, objectives.hypersphere_distance, images, lambda x: x, "cpu")
    assert maps.shape == (3, 6, 6)
    for image, row, column in ((0, 0, 0), (1, 3, 4), (2, 5, 5)):
        slopes = []
        for channel in range(2):
            values = []
            for sign in (1, -1):
                moved = images.clone()
                moved[image, channel, row, column] += sign * step
                values.append(objectives.hypersphere_distance(net(moved))[image].item())
            slopes.append(abs(values[0] - values[1]) / (2 * step))
        assert maps[image, row, column] == pytest.approx(sum(slopes), rel=1e-4)


def test_gradient_maps_in_batches_and_without_traces():
    images, net = torch.rand(7, 2, 6, 6).double(), network().train()
    whole = explain.gradient_maps(net, objectives.hypersphere_distance, images, lambda x: x, "cpu")
    parts = explain.gradient_maps(net, objectives.hypersphere_distance, images, lambda x: x, "cpu", batch_size=3)
    np.testing.assert_allclose(parts, whole)
    assert all(p.grad is None for p in net.parameters()) and not net.training


def test_blur_is_the_paper_s():
    """Its code calls kornia's gaussian_blur2d: a normalised kernel, borders mirrored without doubling them."""
    maps = np.random.default_rng(2).random((3, 20, 24)).astype(np.float32)
    steps = torch.arange(-4, 5)
    kernel = torch.exp(-(steps**2) / (2 * 1.7**2))
    kernel = (kernel / kernel.sum()).float()
    padded = nn.functional.pad(torch.from_numpy(maps)[:, None], (4,) * 4, mode="reflect")
    expected = nn.functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])[:, 0]
    for extent in (9, 10):
        np.testing.assert_allclose(explain.blur(maps, 1.7, extent), expected, atol=1e-5)
    assert explain.blur(maps, 1.7).dtype == np.float32
    np.testing.assert_allclose(explain.blur(np.full((2, 9, 9), 3.0), 2), 3, rtol=1e-6)


MAPS = np.random.default_rng(0).gamma(1, 1, (6, 10, 10)) * np.arange(1, 7)[:, None, None]


@pytest.mark.parametrize("quantile", [0.5, 0.85, 0.99])
def test_display_with_one_scale_for_all(quantile):
    shown = explain.for_display(MAPS, quantile)
    assert shown.min() == 0 and shown.max() == 1 and shown.shape == MAPS.shape
    assert (shown == 1).mean() == pytest.approx(1 - quantile, abs=0.01)
    assert shown[5].mean() > shown[0].mean()
    order = np.argsort(MAPS, axis=None)
    assert (np.diff(shown.ravel()[order]) >= 0).all()


def test_display_with_a_scale_for_each():
    shown = explain.for_display(MAPS, 0.9, per_image=True)
    for each, raw in zip(shown, MAPS, strict=True):
        expected = np.clip((raw - raw.min()) / (np.quantile(raw, 0.9) - raw.min()), 0, 1)
        np.testing.assert_allclose(each, expected, atol=1e-5)


def test_display_of_constant_maps():
    assert (explain.for_display(np.full((2, 4, 4), 3.0)) == 0).all()
    assert (explain.for_display(np.full((2, 4, 4), 3.0), per_image=True) == 0).all()


def test_display_in_batches_shares_one_scale():
    limits = explain.display_limits(MAPS, 0.9)
    batches = [explain.for_display(part, limits=limits) for part in (MAPS[:2], MAPS[2:])]
    assert (np.concatenate(batches) == explain.for_display(MAPS, 0.9)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_overlays(tmp_path, channels):
    images = torch.randint(0, 256, (2, channels, 10, 10), dtype=torch.uint8)
    maps = MAPS[[0, 5]]
    explain.write_overlays(tmp_path / "new" / "folder", ["a", "b"], images, maps)
    for name, image in zip("ab", images, strict=True):
        with Image.open(tmp_path / "new" / "folder" / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape == (10, 20, 3)
        expected = np.broadcast_to(image.permute(1, 2, 0).numpy(), (10, 10, 3))
        assert abs(pixels[:, :10].astype(int) - expected).max() <= 1
        assert (pixels[:, 10:] != pixels[:, :10]).any()

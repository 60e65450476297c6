"""Is the exposure honest? On images that differ in sharpness alone, in content alone, and on CIFAR."""

import warnings

import numpy as np
import pytest
import torch

import fcdd
from fcdd import datasets, honesty

CHOSEN = ("dog", "airplane", "ship")


def noise(count, seed, side=32, slope=1.0):
    """Images whose power falls with frequency as in photographs, (count, 1, side, side) uint8."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.fft.rfft2(torch.randn(count, 1, side, side, generator=generator))
    radius = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)).clamp(min=1 / side)
    pink = torch.fft.irfft2(white / radius**slope, s=(side, side))
    return ((0.5 + 0.15 * pink / pink.std()).clamp(0, 1) * 255).round().to(torch.uint8)


def with_disc(images):
    """The same images with something in them that has no high frequencies."""
    side = images.shape[-1]
    place = torch.arange(side) - side / 2 + 0.5
    disc = torch.exp(-(place[:, None] ** 2 + place**2) / 40)
    return (images.float() + 70 * disc).clamp(0, 255).to(torch.uint8)


class Ranks:
    """A fitted detector that scores by ``measure`` of float images."""

    network_ = "fitted"

    def __init__(self, measure):
        self.measure = measure

    def anomaly_score(self, images):
        return self.measure(images.float()).numpy()


SHARPNESS = Ranks(lambda x: x.diff(dim=3).square().mean((1, 2, 3)))
MIDDLE = Ranks(lambda x: x[..., 10:22, 10:22].mean((1, 2, 3)) - x.mean((1, 2, 3)))


def test_sharpness_alone_is_found_and_told():
    nominal, outliers = noise(200, 0), honesty.amplified(noise(200, 1), 3)
    with pytest.warns(UserWarning, match="gives itself away by how it was made.*Not seen: .*colour cast") as told:
        found = honesty.examine(nominal, outliers, SHARPNESS)
    assert found.warns and str(found) == str(told[0].message)
    assert found.texture > 0.95 and found.before > 0.9 > 0.7 > found.after
    assert f"AUROC {found.texture:.2f}" in str(found) and np.isnan(found.same_content)


@pytest.mark.parametrize("outliers, detector", [
    (noise(200, 1), SHARPNESS),  # from the same source
    (with_disc(noise(200, 1)), MIDDLE),  # another content, which the detector uses
    (honesty.amplified(with_disc(noise(200, 1)), 3), MIDDLE),  # another sharpness, which the detector does not use
])  # fmt: skip
def test_silent_where_the_detector_does_not_live_on_sharpness(outliers, detector):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = honesty.examine(noise(200, 0), outliers, detector)
    assert not found.warns and "gives itself away" not in str(found) and "Not seen" in str(found)
    assert found.before - found.after < honesty.FALL


def test_the_same_content_from_both_sources_answers_directly():
    nominal, same = noise(100, 0), noise(100, 2)
    pair = same, honesty.amplified(same, 0.4)
    blurs = Ranks(lambda x: -SHARPNESS.measure(x))
    with pytest.warns(UserWarning, match="on the same content from both sources"):
        found = honesty.examine(nominal, with_disc(noise(100, 1)), blurs, same_content=pair)
    assert found.same_content > 0.9
    assert honesty.examine(nominal, noise(100, 1), MIDDLE, same_content=(same, same)).same_content == 0.5


def test_a_detector_that_is_not_fitted_is_fitted_to_a_part_and_left_as_it_was(monkeypatch):
    seen = {}

    def fit(self, images):
        seen["learnt"], seen["exposure"] = len(images), len(self.exposure)
        self.network_ = None
        return self

    detector = fcdd.HSC(network="hsc_cnn32_s", epochs=1)
    monkeypatch.setattr(fcdd.HSC, "fit", fit)
    monkeypatch.setattr(fcdd.HSC, "anomaly_score", lambda self, images: images.float().mean((1, 2, 3)).numpy())
    honesty.examine(noise(100, 0), noise(50, 1), detector)
    assert seen == {"learnt": 80, "exposure": 40}
    assert not hasattr(detector, "network_") and detector.exposure == "photographs"


def test_matched_images_have_the_spectrum_and_keep_their_contrast():
    to, images = noise(200, 0), honesty.amplified(noise(200, 1), 2.5)
    ours, theirs = (honesty._spectrum(each) for each in (honesty.matched(images, to), to))
    assert np.abs(np.log(ours / theirs)).max() < 0.2 < np.log(honesty._spectrum(images) / theirs).max()
    assert honesty.matched(images, images).float().sub(images.float()).abs().max() <= 1  # rounding


def test_amplified():
    images = noise(4, 0, slope=1.5)
    assert torch.equal(honesty.amplified(images, 1), images)
    parts = [torch.fft.rfft2(each.float() / 255) for each in (images, honesty.amplified(images, 2.0))]
    radius = torch.from_numpy(honesty._radius(images))
    low, high = (radius > 0) & (radius <= 0.2), radius > 0.2
    ratio = [(parts[1][..., part].abs().sum() / parts[0][..., part].abs().sum()).item() for part in (low, high)]
    assert ratio == pytest.approx([1, 2], abs=0.05)


@pytest.mark.parametrize("call, text", [
    (lambda: honesty.examine(noise(9, 0), noise(20, 1), MIDDLE), "expected 10 images of each kind or more, got 9"),
    (lambda: honesty.examine(noise(20, 0), noise(20, 1, 28), MIDDLE), "outliers"),
    (lambda: honesty.amplified(noise(2, 0), -1), "expected a gain of at least 0, got -1"),
])  # fmt: skip
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("normal", CHOSEN)
def test_it_warns_of_sharpened_cifar100_and_is_silent_of_cifar100(normal):
    """The very same pictures: nothing differs but how sharp they are."""
    try:
        bank = datasets.load_all("cifar100")
        nominal = datasets.load("cifar10", normal).train.images[:2500]
    except FileNotFoundError as error:
        pytest.skip(str(error))
    bank = bank[torch.randperm(len(bank), generator=torch.Generator().manual_seed(0))[:5000]]
    detector = fcdd.HSC(network="hsc_cnn32_s", epochs=5, normalisation="standard", learning_rate=1e-3, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        honest = honesty.examine(nominal, bank, detector)
    with pytest.warns(UserWarning, match="gives itself away"):
        sharpened = honesty.examine(nominal, honesty.amplified(bank, 2.2), detector)
    assert sharpened.before > honest.before  # the easier exposure is the worse one

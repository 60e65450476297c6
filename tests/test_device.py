"""What must hold on any device, tried on all that are here: `make gpu` runs it where there is a card."""

import pytest
import torch

import fcdd

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
SMALL = {"epochs": 2, "batch_size": 16, "seed": 0}
MAKERS = {
    "deep-svdd": lambda **how: fcdd.DeepSVDD(**SMALL, **how),
    "deep-sad": lambda **how: fcdd.DeepSAD(**SMALL, **how),
    "hsc": lambda **how: fcdd.HSC(network="hsc_cnn28", **SMALL, **how),
    "fcdd": lambda **how: fcdd.FCDD(network="fcdd_cnn28", **SMALL, **how),
    "confetti": lambda **how: fcdd.FCDD(network="fcdd_cnn28", objective="pixels", exposure="confetti", **SMALL, **how),
    "autoencoder": lambda **how: fcdd.Autoencoder(**SMALL, **how),
}
IMAGES = torch.randint(0, 256, (48, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_bits_and_the_processor_the_same_scores(name, device):
    first, second = (MAKERS[name](device=device).fit(IMAGES) for _ in range(2))
    assert first.history_ == second.history_
    assert next(first.network_.parameters()).device.type == device
    scores, maps = first.anomaly_score(IMAGES), first.anomaly_map(IMAGES)
    assert (scores == second.anomaly_score(IMAGES)).all() and (maps == second.anomaly_map(IMAGES)).all()
    here = first.to("cpu")
    assert here.anomaly_score(IMAGES) == pytest.approx(scores, rel=1e-3, abs=1e-5)
    assert abs(here.anomaly_map(IMAGES) - maps).max() <= 1e-3 * abs(maps).max()


@pytest.mark.parametrize("device", DEVICES)
def test_photographs_with_the_backbone_in_the_package(device):
    images = IMAGES[:8].float().div(255).repeat_interleave(3, 1)
    images = torch.nn.functional.interpolate(images, size=(64, 64))
    detector = fcdd.FCDD(epochs=1, device=device).fit(images)
    scores = detector.anomaly_score(images)
    assert detector.resolved_["network"] == "fcdd_mobilenet"
    assert detector.to("cpu").anomaly_score(images) == pytest.approx(scores, rel=1e-2, abs=1e-4)

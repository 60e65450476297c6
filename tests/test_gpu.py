"""What training asks of a GPU, where there is none: tensors that claim to lie on it and hold no numbers.

PyTorch's fake tensors know their shape and device. Whoever needs one of their numbers (``.item()``, a boolean index),
or puts two on different devices together, gets an error. What runs through here neither waits for the GPU inside an
epoch nor mixes devices; the gradients and the optimiser's step are PyTorch's own work and are left out.
"""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fcdd
from fcdd import exposure, stacking, training

COUNT, BATCH = 12, 4
GPU = torch.device("cuda:0")
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


class Stream(torch.Generator):
    """A stream of random numbers that claims to be the GPU's."""

    device = GPU


class Sent(TorchFunctionMode):
    """Counts what is sent from here to the GPU, for which Python waits, too."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        here = function is torch.tensor or (function is torch.Tensor.to and args[0].device.type == "cpu")
        self.count += here and result.device == GPU
        return result


@contextmanager
def gpu():
    """A GPU that only claims to be one: a function that puts tensors and networks there."""
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:

        def put(value):
            if not isinstance(value, nn.Module):
                return None if value is None else mode.from_tensor(value).to(GPU)
            for module in value.modules():
                for name, weight in module.named_parameters(recurse=False):
                    module._parameters[name] = nn.Parameter(put(weight).detach(), weight.requires_grad)
                for name, statistic in module.named_buffers(recurse=False):
                    module._buffers[name] = put(statistic)
            return value

        yield put


def epoch(monkeypatch, make, count=1, masks=None, outliers="bank", shape=GREY):
    """An epoch of ``count`` stacked detectors and their scores afterwards; returns losses, scores and copies sent."""
    members = [make() for _ in range(count)]
    images, y = torch.zeros(COUNT, *shape, dtype=torch.uint8), torch.ones(COUNT)
    batches = [member._start(*member._inputs(images, y, masks)) for member in members]  # here, on the CPU
    networks = [member.network_ for member in members]
    lead = members[0]
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    for kind in (torch.optim.SGD, torch.optim.Adam):
        monkeypatch.setattr(kind, "step", lambda self: None)
    with gpu() as put:
        for member, one, network in zip(members, batches, networks, strict=True):
            member.device_, member.network_ = GPU, put(network)
            one.images, one.y, one.masks, one.generator = put(one.images), put(one.y), put(one.masks), Stream()
            one.prepare = one.prepare._replace(shift=put(one.prepare.shift), scale=put(one.prepare.scale))
            if one.exposure is not None:
                bank = put(images)
                one.exposure = exposure.from_bank(bank) if outliers == "bank" else exposure.PASTED[outliers]
        together = training.end_to_end(batches)
        if hasattr(lead, "_center"):
            lead.center_ = torch.zeros(count, 64, device=GPU)
            lead.radius_ = lead.center_.new_zeros(count)
        with stacking.stacked(networks) as network, Sent() as sent:
            optimizer, _ = lead._schedule().make(network)
            half = torch.autocast("cpu", enabled=False)
            losses = training._epoch(
                network, lead._loss, together, BATCH, optimizer, half, lambda z: lead._after_batch(99, z)
            )
        if hasattr(lead, "_center"):
            lead.center_ = lead.center_[0]
        prepare = batches[0].prepare
        scores = training.forward(lead.network_, batches[0].images, prepare, GPU, head=lead._score)
        return losses, scores, sent.count


KINDS = {
    "deep-svdd": lambda: fcdd.DeepSVDD(device="cpu"),
    "soft-boundary": lambda: fcdd.DeepSVDD(objective="soft-boundary", device="cpu"),
    "deep-sad": lambda: fcdd.DeepSAD(device="cpu"),
    "hsc": lambda: fcdd.HSC(network="hsc_cnn28", device="cpu"),
    "bce": lambda: fcdd.HSC(network="hsc_cnn28", objective="bce", device="cpu"),
    "fcdd": lambda: fcdd.FCDD(network="fcdd_cnn28", device="cpu"),
    "autoencoder": lambda: fcdd.Autoencoder(device="cpu"),
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_stays_on_the_gpu_and_waits_for_nothing(monkeypatch, kind, count):
    losses, scores, sent = epoch(monkeypatch, KINDS[kind], count)
    assert losses.shape == (count, -(-COUNT // BATCH)) and losses.device == GPU
    assert scores.shape == (COUNT,) and scores.device.type == "cpu"
    assert sent == 0


def test_masks_stay_there_too(monkeypatch):
    masks = torch.zeros(COUNT, 1, 28, 28, dtype=torch.bool)
    losses, _, sent = epoch(
        monkeypatch, lambda: fcdd.FCDD(network="fcdd_cnn28", objective="pixels", device="cpu"), masks=masks
    )
    assert losses.device == GPU and sent == 0


@pytest.mark.parametrize("outliers", ["bank", "confetti", "confetti-masks"])
@pytest.mark.parametrize("augmentation", [True, "parts", "parts-any-way-up"])
@pytest.mark.parametrize("masked", [False, True])
def test_colours_parts_and_confetti_wait_for_nothing(monkeypatch, augmentation, outliers, masked):
    options = {"objective": "pixels"} if masked else {}
    masks = torch.zeros(COUNT, 1, 32, 32, dtype=torch.bool) if masked else None
    losses, _, sent = epoch(
        monkeypatch,
        lambda: fcdd.FCDD(network="fcdd_cnn32_s", augmentation=augmentation, **options, device="cpu"),
        outliers=outliers,
        masks=masks,
        shape=COLOUR,
    )
    assert losses.device == GPU and sent == 0


class SinglePrecision(TorchDispatchMode):
    """Refuses what MPS cannot hold: tensors of float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, (tuple, list)) else [results]:
            assert not isinstance(result, torch.Tensor) or result.dtype != torch.float64, f"{function} makes float64"
        return results


@pytest.mark.parametrize("outliers", ["photographs", "confetti"])
@pytest.mark.parametrize("augmentation", [True, "parts"])
def test_no_tensor_is_float64(augmentation, outliers):
    """The CPU stands for MPS: from the batches to the heatmaps all tensors would lie there."""
    images = torch.randint(0, 256, (8, *COLOUR), dtype=torch.uint8)
    settings = {"network": "fcdd_cnn32_s", "epochs": 1, "batch_size": 4, "device": "cpu"}
    detector = fcdd.FCDD(**settings, exposure=outliers, augmentation=augmentation)
    batches = detector._start(*detector._inputs(images))
    with SinglePrecision():
        training.train(detector.network_, detector._loss, batches, detector._schedule())
        assert detector.anomaly_map(images).shape == (8, 32, 32)


def test_a_wait_and_two_devices_are_noticed():
    with gpu() as put, pytest.raises(DataDependentOutputException):
        put(torch.zeros(3)).sum().item()
    with gpu() as put, pytest.raises(RuntimeError, match="found at least two devices"):
        put(torch.zeros(3)) + torch.zeros(3)
    with gpu() as put, Sent() as sent:
        torch.tensor([1.0], device=GPU), torch.zeros(3).to(GPU), torch.zeros(3, device=GPU)
    assert sent.count == 2

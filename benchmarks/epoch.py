"""One epoch of FCDD on 6,000 nominal images, half of them replaced by outliers, with the papers' augmentation: batches
made on the device against a PyTorch loop that loads, augments and normalises one PIL image at a time.

The loop has a process of its own, where memory is handled as the system does it by default:
``python -m benchmarks.epoch epoch fcdd_cnn28 cpu 0 --quick``.
"""

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from unittest import mock

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import fcdd
from fcdd import augment, exposure, metrics, networks, objectives, training

from .compare import Comparison, Fact, Limit, Measured, Options, in_a_process, timed
from .hardware import flops
from .images import one_class

BATCH = 128
# Kinds of work, by what the names of PyTorch's operations contain.
KINDS = {
    "convolutions": ("convolution",),
    "normalisation": ("batch_norm",),
    "pooling, activation": ("max_pool", "relu"),
    "optimiser": ("Optimizer.", "fused_"),
}


def comparisons(options: Options):
    workers = min(8, os.cpu_count())
    for network, goal, epochs in (("fcdd_cnn28", 4.5, 5), ("fcdd_cnn28_w", 3.0, 1)):
        case = Case(network, options.device, options.quick)
        yield Comparison(
            f"epoch-{network}",
            f"An epoch of {network.upper()}, {len(case.nominal):,} images",
            case.ours,
            {
                "DataLoader, PIL images": lambda case=case: case.loop(0),
                f"DataLoader, PIL images, {workers} workers": lambda case=case: case.loop(workers),
            },
            goal,
            lambda peaks, _, case=case: case.limit(peaks),
            lambda ours, peer, case=case, epochs=epochs: case.precision(epochs),
            parts=case.parts,
        )


def main(which: str, network: str, device: str, workers: str, quick: str = "") -> None:
    """Prints the seconds of an epoch of the plain loop, or its parts, as JSON."""
    Case(network, device, quick=True).plain(0)  # what is prepared at the first time does not count
    case, workers = Case(network, device, bool(quick)), int(workers)
    if which == "parts":
        result = profiled(lambda: case.plain(workers, train=False), lambda: case.plain(workers))
    else:
        result = case.plain(workers).seconds
    print(json.dumps(result))


@dataclass
class Case:
    """One network, to be trained for an epoch in either way."""

    network: str
    device: str
    quick: bool

    def __post_init__(self):
        self.split, self.nominal = one_class("T-shirt/top", self.quick)
        self.outliers = exposure.photographs(1, (28, 28), count=100 if self.quick else None)

    def detector(self, epochs: int = 1) -> fcdd.FCDD:
        settings = {"epochs": epochs, "batch_size": BATCH, "device": self.device}
        return fcdd.FCDD(network=self.network, exposure=self.outliers, **settings)

    def started(self):
        """A detector that is ready to train, and its batches: what ``fit`` does before the first epoch."""
        detector = self.detector()
        return detector, detector._start(*detector._inputs(self.nominal))

    def ours(self) -> Measured:
        detector, batches = self.started()
        schedule = detector._schedule()
        return timed(lambda: training.train(detector.network_, detector._loss, batches, schedule), self.device)

    def plain(self, workers: int, train: bool = True) -> Measured:
        """As a tutorial would write it; without ``train`` the images are made and thrown away."""
        network = networks.build(self.network, 1).to(self.device).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-6)
        loader = DataLoader(OneByOne(self.nominal, self.outliers), BATCH, shuffle=True, num_workers=workers)

        def epoch():
            for x, y in loader:
                if train:
                    optimizer.zero_grad()
                    loss = objectives.fcdd(network(x.to(self.device)), y.to(self.device)).mean()
                    loss.backward()
                    optimizer.step()

        return timed(epoch, self.device)

    def loop(self, workers: int) -> Measured:
        """An epoch of the plain loop in a process of its own."""
        return Measured(self.apart("epoch", workers), None)

    def apart(self, which: str, workers: int):
        """What :func:`main` prints in a process of its own."""
        quick = ["--quick"] if self.quick else []
        return in_a_process("epoch", which, self.network, self.device, workers, *quick)

    def limit(self, peaks) -> Limit:
        """The multiplications of one batch, forwards and backwards, for as many batches as there are."""
        network = networks.build(self.network, 1)
        batch = torch.rand(BATCH, 1, 28, 28)
        needed = flops(lambda: network(batch).sum().backward()) * len(self.nominal) / BATCH
        kind = "bfloat16" if training.mixed_precision(torch.device(self.device))._enabled else "float32"
        return Limit(needed / peaks[kind], f"convolutions in {kind}")

    def only_batches(self) -> Measured:
        """Ours without the training: the images are made and thrown away."""
        batches = self.started()[1]
        return timed(lambda: [None for _ in batches.epoch(BATCH)], self.device)

    def parts(self) -> dict[str, dict[str, float]]:
        """The seconds of an epoch by kind of work, in both ways; the plain loop works in the main process."""
        return {"ours": profiled(self.only_batches, self.ours), "one image at a time": self.apart("parts", 0)}

    def precision(self, epochs: int) -> list[Fact]:
        """What bfloat16 costs in AUROC after a few epochs, where it is used."""
        if not training.mixed_precision(torch.device(self.device))._enabled:
            return []
        exact = mock.patch.object(training, "mixed_precision", return_value=nullcontext())
        found = []
        for context in (nullcontext(), exact):
            with context:
                detector = self.detector(epochs).fit(self.nominal)
            found.append(metrics.auroc(self.split.test.anomalous, detector.anomaly_score(self.split.test.images)))
        after = f"after {epochs} epoch{'s' * (epochs > 1)}"
        return [
            Fact(f"AUROC {after}", found[0]),
            Fact(f"difference of AUROC to float32 {after}", abs(found[0] - found[1]), 0.01),
        ]


def profiled(only_batches, epoch) -> dict[str, float]:
    """Seconds of an epoch by kind of work: of the network from PyTorch's profiler, of batches by making only these."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's notes on itself
    parts = {"making batches": only_batches().seconds}
    with torch.profiler.profile() as profile:  # of the processor, and of a GPU where there is one
        seconds = epoch().seconds
    operations = [each for each in profile.key_averages() if each.key.startswith(("aten::", "Optimizer."))]
    for kind, names in KINDS.items():
        found = [each for each in operations if any(name in each.key for name in names)]
        parts[kind] = sum(each.self_device_time_total or each.self_cpu_time_total for each in found) / 1e6
    return parts | {"the rest": max(seconds - sum(parts.values()), 0)}


class OneByOne(Dataset):
    """The plain way: a PIL image by index, replaced by an outlier half of the time, transformed by itself."""

    def __init__(self, nominal, outliers):
        normalise = augment.fit_normalisation(nominal)
        self.nominal, self.outliers = nominal.numpy(), outliers.numpy()
        self.transform = transforms.Compose([
            transforms.RandomCrop(28, padding=2),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Lambda(contrast),
            transforms.Normalize(normalise.shift.flatten().tolist(), normalise.scale.flatten().tolist()),
        ])  # fmt: skip

    def __len__(self):
        return len(self.nominal)

    def __getitem__(self, index):
        swap = torch.rand(()) < 0.5
        image = self.outliers[torch.randint(len(self.outliers), ())] if swap else self.nominal[index]
        return self.transform(Image.fromarray(image[0])), -1 if swap else 1


def contrast(image: Tensor) -> Tensor:
    """Local contrast normalisation of one image."""
    image = image - image.mean()
    return image / image.abs().mean().clamp(min=1e-8)


if __name__ == "__main__":
    main(*sys.argv[1:])

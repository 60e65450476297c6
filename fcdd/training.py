"""One training loop for all deep detectors, and the batched forward pass for scoring.

The data set lies on the device as uint8; outliers are mixed in, images augmented and normalised batch by batch with
tensor operations. Taught in: chapter 02 (the loop) and 04 (outlier exposure).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm


def pick_device(device: str = "auto") -> torch.device:
    """``"auto"``: CUDA, then MPS, then CPU; or the device named. Raises ValueError if it cannot be used here."""
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {device!r} cannot be used here ({reason}); expected auto, cpu, cuda or mps"
        ) from error
    return torch.device(device)


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 autocast where the hardware multiplies it faster than float32 (two to three times), else nothing.

    Only the network's layers run in it; losses and weights stay float32.
    """
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.autocast(device.type, torch.bfloat16, enabled=faster)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam or SGD (Nesterov, momentum 0.9), one decay of the learning rate an epoch."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "adam"
    decay: float = 1.0  # the learning rate is multiplied by this after every epoch
    milestones: tuple[int, ...] = ()  # and by 0.1 after these epochs
    weight_decay: float = 1e-6

    def __post_init__(self):
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(f"unknown optimizer {self.optimizer!r}; known: adam, sgd")
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0:
            raise ValueError(
                "expected epochs >= 1, batch_size >= 2 and learning_rate > 0, "
                f"got {self.epochs}, {self.batch_size} and {self.learning_rate}"
            )

    def make(self, network: nn.Module):
        """The optimiser of ``network`` and its learning-rate schedule."""
        weights = [p for p in network.parameters() if p.requires_grad]
        if self.optimizer == "adam":
            optimizer = torch.optim.Adam(weights, lr=self.learning_rate, weight_decay=self.weight_decay)
        else:
            optimizer = torch.optim.SGD(
                weights, lr=self.learning_rate, weight_decay=self.weight_decay, momentum=0.9, nesterov=True
            )

        def factor(epoch: int) -> float:
            return self.decay**epoch * 0.1 ** sum(epoch >= m for m in self.milestones)

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@dataclass
class Batches:
    """Endless source of training batches: shuffled, part of the nominal images replaced by outliers, augmented.

    images (N, C, H, W), y (N,), masks (N, 1, H, W) or None, all on one device. ``exposure`` is a source of outliers
    (see :mod:`fcdd.exposure`) that replaces each nominal image with probability ``share``.
    """

    images: Tensor
    y: Tensor
    prepare: Callable[[Tensor], Tensor]  # normalisation
    generator: Generator
    masks: Tensor | None = None
    exposure: Callable | None = None
    share: float = 0.5
    augment: Callable | None = None  # (images, masks, generator) → (images, masks)

    def epoch(self, batch_size: int):
        """Yields (x, y, masks) until every image was drawn once; a last batch of one image is left out."""
        order = torch.randperm(len(self.images), generator=self.generator, device=self.images.device)
        for chosen in order.split(batch_size):
            if len(chosen) > 1 or len(order) == 1:
                yield self._batch(chosen)

    def _batch(self, chosen: Tensor):
        x, y = self.images[chosen], self.y[chosen]
        masks = None if self.masks is None else self.masks[chosen]
        if self.exposure is not None:
            swap = torch.rand(len(x), generator=self.generator, device=x.device) < self.share
            swap &= y >= 0  # labelled anomalies stay
            outliers, where = self.exposure(x, self.generator)
            x, y = torch.where(swap[:, None, None, None], outliers, x), torch.where(swap, -1, y)
            if masks is not None:
                masks = torch.where(swap[:, None, None, None], True if where is None else where, masks)
        if self.augment is not None:
            x, masks = self.augment(x, masks, self.generator)
        return self.prepare(x), y, masks


def train(
    network: nn.Module, loss: Callable, batches: Batches, schedule: Schedule, *, after_batch=None, title="training"
):
    """Minimises the mean of ``loss(outputs, y, masks)`` → (N,) over ``network``; returns the loss of every epoch.

    ``after_batch(epoch, outputs)`` is called after every step (Deep SVDD's radius lives there). The network is left in
    evaluation mode. Losses stay on the device until an epoch ends. Raises FloatingPointError if the loss is not
    finite, naming the epoch.
    """
    optimizer, decay = schedule.make(network)
    half = mixed_precision(batches.images.device)
    history = []
    with tqdm(range(schedule.epochs), desc=title, unit="epoch", leave=False, delay=3) as bar:
        for epoch in bar:
            network.train()
            losses = []
            for x, y, masks in batches.epoch(schedule.batch_size):
                optimizer.zero_grad(set_to_none=True)
                with half:
                    outputs = network(x.contiguous(memory_format=torch.channels_last)).float()
                value = loss(outputs, y, masks).mean()
                value.backward()
                optimizer.step()
                losses.append(value.detach())
                if after_batch is not None:
                    after_batch(epoch, outputs.detach())
            decay.step()
            history.append(float(torch.stack(losses).mean()))
            bar.set_postfix(loss=f"{history[-1]:.4g}", refresh=False)
            if not torch.isfinite(torch.tensor(history[-1])):
                raise FloatingPointError(
                    f"the loss became {history[-1]} in epoch {epoch + 1}; try a smaller learning_rate"
                )
    network.eval()
    return history


def forward(
    network: nn.Module, images: Tensor, prepare: Callable, device, *, head: Callable | None = None, batch_size=512
):
    """Outputs of the network in evaluation mode for all ``images``, batch by batch, gathered on the CPU.

    ``head`` is applied to every batch of outputs on the device, to keep what is gathered small.
    """
    network.eval()
    with torch.inference_mode():
        parts = []
        for x in images.split(batch_size):
            outputs = network(prepare(x.to(device)).contiguous(memory_format=torch.channels_last))
            parts.append((outputs if head is None else head(outputs)).cpu())
    return torch.cat(parts)

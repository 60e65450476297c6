"""One training loop for all deep detectors, and the batched forward pass for scoring.

The data set lies on the device as uint8; outliers are mixed in, images augmented and normalised batch by batch.
Several models of one architecture train at once when their batches lie end to end: each sees the images and random
numbers that it would see alone. Taught in: chapter 02 (the loop), 04 (outlier exposure) and 08.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from .augment import Draws, Normalisation, draw, papers_recipe
from .memory import halving
from .watch import Watch


def pick_device(device: str = "auto") -> torch.device:
    """``"auto"``: CUDA, then MPS, then CPU; or the device named. Raises ValueError if it cannot be used here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        told = f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); expected auto, cpu, cuda or mps"
        raise ValueError(told) from error
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
            got = f"{self.epochs}, {self.batch_size} and {self.learning_rate}"
            raise ValueError(f"expected epochs >= 1, batch_size >= 2 and learning_rate > 0, got {got}")

    def make(self, network: nn.Module):
        """The optimiser of ``network`` and its learning-rate schedule."""
        weights = [p for p in network.parameters() if p.requires_grad]
        kind = torch.optim.Adam if self.optimizer == "adam" else partial(torch.optim.SGD, momentum=0.9, nesterov=True)
        optimizer = kind(weights, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)  # in one pass
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: self.decay**epoch * 0.1 ** sum(epoch >= m for m in self.milestones)
        )


@dataclass
class Batches:
    """Endless source of training batches: shuffled, part of the nominal images replaced by outliers, augmented.

    images (N, C, H, W), y (N,), masks (N, 1, H, W) or None, all on one device. ``exposure``, a source of outliers
    (:mod:`fcdd.exposure`), replaces each nominal image with probability ``share``. Of several models images, y and
    masks lie end to end, and each has its generator (:func:`end_to_end`).
    """

    images: Tensor
    y: Tensor
    prepare: Callable[[Tensor], Tensor]  # normalisation
    generator: Draws
    masks: Tensor | None = None
    exposure: Callable | None = None
    share: float = 0.5
    augment: Callable | None = None  # (images, masks, generator) → (images, masks)

    @property
    def models(self) -> int:
        return 1 if isinstance(self.generator, Generator) else len(self.generator)

    def epoch(self, batch_size: int):
        """Yields (x, y, masks) until every image was drawn once; a last batch of one image is left out.

        Of several models a batch holds ``batch_size`` images each, those of the first model first.
        """
        device, count = self.images.device, len(self.images) // self.models
        generators = [self.generator] if isinstance(self.generator, Generator) else self.generator
        order = torch.stack([torch.randperm(count, generator=one, device=device) for one in generators])
        order += count * torch.arange(self.models, device=device)[:, None]
        for chosen in order.split(batch_size, 1):
            if chosen.shape[1] > 1 or count == 1:
                yield self._batch(chosen.flatten())

    def _batch(self, chosen: Tensor):
        x, y = self.images[chosen], self.y[chosen]
        masks = None if self.masks is None else self.masks[chosen]
        if self.exposure is not None:
            swap = draw(torch.rand, (len(x),), self.generator, x.device) < self.share
            swap &= y >= 0  # labelled anomalies stay
            outliers, where = self.exposure(x, self.generator)
            y, swap = torch.where(swap, -1, y), swap[:, None, None, None]
            x = torch.where(swap, outliers, x)
            masks = None if masks is None else torch.where(swap, True if where is None else where, masks)
        if self.augment is not None:
            x, masks = self.augment(x, masks, self.generator)
        return self.prepare(x), y, masks


def end_to_end(batches: Sequence[Batches]) -> Batches:
    """The batches of several models as one, or the only one itself.

    Raises ValueError unless all have as many images, of one shape and type, with or without masks and outliers, and
    one kind of normalisation and augmentation.
    """
    first = batches[0]
    if len(batches) == 1:
        return first
    kinds = {
        (tuple(b.images.shape), b.images.dtype, b.masks is None, b.exposure is None, b.share, b.augment)
        + (b.prepare[:1] if isinstance(b.prepare, Normalisation) else (b.prepare,))
        for b in batches
    }
    if len(kinds) > 1:
        raise ValueError(
            "expected models with the same number, shape and type of images, masks and outliers for all or none, and "
            f"one kind of normalisation and augmentation, got {len(kinds)} kinds; train them one after another"
        )
    prepare, augment = first.prepare, first.augment
    if isinstance(prepare, Normalisation):
        all_of = [b.prepare for b in batches if isinstance(b.prepare, Normalisation)]  # one kind, as checked above
        shifts, scales = (torch.stack([getattr(each, part) for each in all_of]) for part in ("shift", "scale"))
        prepare = Normalisation(prepare.contrast, shifts, scales)
    if augment not in (None, papers_recipe):  # the others draw as they go: they are called for each model
        augment = _in_parts([augment] * len(batches))
    exposure = None if first.exposure is None else _in_parts([b.exposure for b in batches])
    images, y, masks = map(_joined, zip(*((b.images, b.y, b.masks) for b in batches), strict=True))
    return Batches(images, y, prepare, [b.generator for b in batches], masks, exposure, first.share, augment)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.cat(parts)


def _in_parts(functions: Sequence[Callable]) -> Callable:
    """Sources of outliers or recipes of augmentation, each for its part of a batch with its generator."""

    def apply(*arguments):
        *tensors, generators = arguments
        parts = ([None] * len(functions) if t is None else t.chunk(len(functions)) for t in tensors)
        results = [f(*part) for f, *part in zip(functions, *parts, generators, strict=True)]
        return tuple(map(_joined, zip(*results, strict=True)))

    return apply


def _epoch(network, loss, batches, batch_size, optimizer, half, after_batch) -> Tensor:
    """One pass over the images; the mean loss of each model in each batch (M, batches), on the device."""
    network.train()
    losses = []
    for x, y, masks in batches.epoch(batch_size):
        optimizer.zero_grad(set_to_none=True)
        with half:
            outputs = network(x.contiguous(memory_format=torch.channels_last)).float()
        value = loss(outputs, y, masks).unflatten(0, (batches.models, -1)).mean(1)
        value.sum().backward()  # no weight belongs to two models, so that each has the gradient of its own loss
        optimizer.step()
        losses.append(value.detach())
        if after_batch is not None:
            after_batch(outputs.detach())
    return torch.stack(losses, 1)


def train(
    network: nn.Module, loss, batches: Batches, schedule: Schedule, *, after_batch=None, title="training", bar=None,
    watch: Watch | None = None,
) -> list:  # fmt: skip
    """Minimises the mean of ``loss(outputs, y, masks)`` → (N,) over ``network``; returns the loss of every epoch.

    With the ``batches`` of several models ``network`` is their :class:`fcdd.stacking.Stack`, each mean runs over the
    images of one model, and there is a list of losses for each; all share the schedule. ``after_batch(epoch,
    outputs)`` is called after every step (Deep SVDD's radius lives there). The network is left in evaluation mode.
    ``bar`` counts the epochs of all models, if it is not to be one of its own; ``watch`` has callbacks and a checkpoint
    to go on from. Raises FloatingPointError if a loss or a weight is not finite, naming the epoch and the batch.
    """
    optimizer, decay = schedule.make(network)
    device, models, watch = batches.images.device, batches.models, watch or Watch()
    half, parts = mixed_precision(device), {"network": network, "optimizer": optimizer, "decay": decay}
    bars = progress(schedule.epochs * models, title) if bar is None else nullcontext(bar)
    with bars as bar, repeatable(batches.generator, device):
        history = watch.resume(parts, batches.generator, device, schedule.epochs)
        bar.update(models * len(history))
        for epoch in range(len(history), schedule.epochs):
            after = after_batch and partial(after_batch, epoch)
            losses = _epoch(network, loss, batches, schedule.batch_size, optimizer, half, after)
            refuse_infinite(losses, network, epoch, watch.kept(epoch))
            history.append(losses.mean(1).tolist())
            decay.step()
            bar.update(models)
            bar.set_postfix(loss=f"{sum(history[-1]) / models:.4g}", refresh=False)
            if watch.after(history, parts, batches.generator, device):
                break
    network.eval()
    histories = [list(losses) for losses in zip(*history, strict=True)]
    return histories if models > 1 else histories[0]


@contextmanager
def repeatable(generator: Draws, device: torch.device):
    """While it lasts, layers that draw from PyTorch's global random numbers, as Dropout does, get those of the first
    seed and leave the global state as it was, and cuDNN takes algorithms that give the same bits each time."""
    first = generator if isinstance(generator, Generator) else generator[0]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), cudnn(deterministic=True, benchmark=False):
        torch.manual_seed(first.initial_seed())
        yield


def cudnn(**flags: bool):
    """cuDNN's flags for a while. PyTorch's own context switches it off unless told not to: up to 70 times as slow."""
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, **flags)


def progress(epochs: int, title: str, verbose: bool = True) -> tqdm:
    """A bar that counts the epochs of all models; hidden for what takes three seconds or less, and if not wanted."""
    # None: what the environment says (TQDM_DISABLE)
    return tqdm(total=epochs, desc=title, unit="epoch", leave=False, delay=3, **({} if verbose else {"disable": True}))


def refuse_infinite(losses: Tensor, network: nn.Module, epoch: int, kept: str = "") -> None:
    """Raises FloatingPointError if a loss (M, batches) of an epoch, counted from 0, is not finite, or a weight after
    its last batch; ``kept`` says what there is of the training before."""
    models, batches = losses.shape
    wrong = (~losses.isfinite()).nonzero().tolist()  # waits for the device once, as the weights below do
    if wrong:
        model, batch = min(wrong, key=lambda place: place[1])
        of = f" of model {', '.join(map(str, sorted({k + 1 for k, _ in wrong})))} of {models}" if models > 1 else ""
        what = f"the loss{of} became {float(losses[model, batch])} in batch {batch + 1}"
    elif not torch.stack([tensor.isfinite().all() for tensor in network.state_dict().values()]).all():
        what = f"a weight became infinite or nan in batch {batches}, the last one,"
    else:
        return
    raise FloatingPointError(f"{what} of epoch {epoch + 1}; {kept}try a smaller learning_rate")


def forward(network: nn.Module, images: Tensor, prepare: Callable, device, *, head=None, batch_size=512):
    """Outputs of the network in evaluation mode for all ``images``, batch by batch, gathered on the CPU.

    ``head`` is applied to every batch of outputs on the device, to keep what is gathered small.
    """
    network.eval()
    head = head or nn.Identity()

    def outputs(size):
        with torch.inference_mode():
            batches = (prepare(x.to(device)).contiguous(memory_format=torch.channels_last) for x in images.split(size))
            return torch.cat([head(network(x)).cpu() for x in batches])

    return halving(outputs, batch_size)

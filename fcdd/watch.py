"""What goes on beside a training: callbacks, a progress bar, and checkpoints from which it goes on after a kill.

Taught in: the page on the library.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from . import files


@dataclass(frozen=True)
class Watch:
    """Each of ``callbacks`` is called after every epoch as ``callback(detector, epoch, loss)``, ``epoch`` from 1; one
    that returns True ends the training there. Without ``verbose`` there is no progress bar. After every epoch the
    ``checkpoint`` holds all that training depends on: ``fit`` with the same file, settings and images goes on from it
    and ends with the same bits as without the interruption. Delete it to begin anew.
    """

    callbacks: Sequence[Callable] = ()
    verbose: bool = True
    checkpoint: Path | None = None
    part: str = ""  # which of several models, beside the bar
    detector: Any = None  # whose training it is
    key: str = ""  # of its settings and images

    def begin(self, detector, images, labels, masks) -> "Watch":
        """The watch of this detector's training on these images."""
        if self.checkpoint is None:
            return replace(self, detector=detector)
        settings = {name: value for name, value in detector.get_params().items() if name != "epochs"}
        digest = hashlib.sha256(repr((type(detector).__name__, sorted(settings.items()))).encode())
        for part in (images, labels, masks):
            held = part.cpu().numpy().tobytes() if isinstance(part, Tensor) else repr(part).encode()
            digest.update(held)
        return replace(self, detector=detector, key=digest.hexdigest())

    def resume(self, parts: dict, draws, device, epochs: int) -> list:
        """Sets the ``parts`` (network, optimiser, learning rate) and the random ``draws`` as the checkpoint has them;
        returns its losses, none without one. Raises ValueError for a checkpoint of something else, of more ``epochs``,
        or a damaged one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return []
        try:
            with zipfile.ZipFile(self.checkpoint) as whole:
                if changed := whole.testzip():  # PyTorch does not look at the checksums
                    raise ValueError(f"{changed} in it is damaged")
            held = torch.load(self.checkpoint, map_location=device, weights_only=True)
            if same := held["key"] == self.key:
                for name, part in parts.items():
                    part.load_state_dict(held[name])
                for generator, state in zip(_generators(draws), held["draws"], strict=True):
                    generator.set_state(state.cpu())
                _global(device, [state.cpu() for state in held["global"]])
                if held["radius"] is not None:
                    self.detector.radius_ = held["radius"]
                history = list(held["history"])
        except Exception as error:  # zip, pickle and PyTorch each raise their own
            why = str(error).partition(". ")[0]  # where PyTorch goes on to advise to run what is in the file
            raise ValueError(
                f"{self.checkpoint} is no checkpoint that can be read ({why}); delete it to begin anew"
            ) from error
        if not same:
            told = "is of other images, other settings or another version; delete it, or name another file"
            raise ValueError(f"the checkpoint {self.checkpoint} {told}")
        if len(history) > epochs:
            told = f"holds {len(history)} epochs, more than the {epochs} asked for; delete it, or name another file"
            raise ValueError(f"the checkpoint {self.checkpoint} {told}")
        return history

    def of(self, batch_size: int | None = None) -> "Watch":
        """With a checkpoint of its own for another ``batch_size`` than the one asked for."""
        file = self.checkpoint
        return self if None in (file, batch_size) else replace(self, checkpoint=Path(f"{file}.batch{batch_size}"))

    def kept(self, epochs: int) -> str:
        """What is left of so many epochs when training stops, as a part of a sentence."""
        if self.checkpoint is None:
            return "nothing is kept without a checkpoint; "
        told = f"{self.checkpoint} keeps epoch {epochs}: fit with epochs={epochs} gives the model as it was then, or "
        return f"{told}delete the file and " if epochs else ""

    def after(self, history: list, parts: dict, draws, device) -> bool:
        """Keeps the state after an epoch and calls the callbacks; True if one of them ends the training."""
        if self.checkpoint is not None:
            held = {name: part.state_dict() for name, part in parts.items()}
            held |= {"key": self.key, "history": history, "radius": getattr(self.detector, "radius_", None)}
            held |= {"draws": [generator.get_state() for generator in _generators(draws)], "global": _global(device)}
            with files.whole(self.checkpoint) as partial:
                torch.save(held, partial)
        ended = [callback(self.detector, len(history), history[-1][0]) is True for callback in self.callbacks]
        return any(ended)


def watches(detector, models: int, callbacks, verbose: bool, checkpoint) -> list[dict]:
    """What ``_learn`` is told for each of so many models: the detector's own, then those of folds, which have their own
    checkpoints and no callbacks. Raises ValueError for a detector that knows no epochs."""
    if not detector.trains_in_epochs:
        if callbacks or checkpoint is not None:
            raise ValueError(f"expected no callbacks and no checkpoint: {type(detector).__name__} trains in no epochs")
        return [{}] * models
    file = None if checkpoint is None else Path(checkpoint)
    places = [file, *(file and file.with_name(f"{file.name}.fold{k}") for k in range(1, models))]
    parts = [f" {k or models} of {models}" if models > 1 else "" for k in range(models)]
    whose = [tuple(callbacks), *[()] * (models - 1)]
    return [{"watch": Watch(*each)} for each in zip(whose, [verbose] * models, places, parts, strict=True)]


def _generators(draws) -> list[Generator]:
    return [draws] if isinstance(draws, Generator) else list(draws)


def _global(device: torch.device, states: list | None = None) -> list[Tensor]:
    """PyTorch's global random numbers, which layers such as Dropout draw from, after setting them if given."""
    if states:
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], device)
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

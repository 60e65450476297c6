"""Detectors to files and back: safetensors with everything needed to score, ONNX to run without PyTorch.

Taught in: chapter 05.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from . import augment, detectors

FORMAT = "fcdd-1"


def save(detector, path) -> None:
    """Writes weights, normalisation, center and thresholds to one safetensors file; parameters as its metadata.

    Raises ValueError for a network given as a module: only named networks can be built again.
    """
    if isinstance(detector.network, nn.Module):
        raise ValueError(
            "expected a network by name: a module cannot be rebuilt from a file; save its state_dict yourself"
        )
    parameters = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in detector.get_params().items()
    }
    if not isinstance(parameters.get("exposure", ""), str):
        parameters["exposure"] = None  # an array or a path is needed for training only
    fitted = {"offset": detector.offset_, "radius": getattr(detector, "radius_", None), "history": detector.history_}
    fitted |= {"image_shape": detector.image_shape_, "contrast": detector.normalisation_.contrast}
    tensors = {f"network.{key}": value.contiguous() for key, value in detector.network_.state_dict().items()}
    tensors |= {"shift": detector.normalisation_.shift, "scale": detector.normalisation_.scale}
    if hasattr(detector, "center_"):
        tensors["center"] = detector.center_
    metadata = {"format": FORMAT, "class": type(detector).__name__}
    metadata |= {"parameters": json.dumps(parameters), "fitted": json.dumps(fitted)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().cpu().clone() for key, value in tensors.items()}, path, metadata=metadata)


def load(path, expected=None):
    """The detector in ``path``, on the CPU, ready to score.

    Raises FileNotFoundError; ValueError if the file is none of ours or holds another class than ``expected``.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at {path}; expected a file written by save()")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file or is cut short ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by this library (expected format {FORMAT}, got {metadata.get('format')})"
        )
    known = ("DeepSVDD", "DeepSAD", "HSC", "FCDD", "Autoencoder")
    if metadata.get("class") not in known:
        raise ValueError(f"{path} holds an unknown detector {metadata.get('class')!r}; known: {', '.join(known)}")
    cls = getattr(detectors, metadata["class"])
    if expected is not None and cls is not expected:
        raise ValueError(f"{path} holds a {cls.__name__}, expected a {expected.__name__}; call {cls.__name__}.load")
    parameters, fitted = json.loads(metadata["parameters"]), json.loads(metadata["fitted"])
    detector = cls(**{**parameters, "milestones": tuple(parameters["milestones"])})
    return _restore(detector, fitted, tensors)


def _restore(detector, fitted, tensors):
    detector.device_ = torch.device("cpu")
    detector.image_shape_ = tuple(fitted["image_shape"])
    detector.normalisation_ = augment.Normalisation(fitted["contrast"], tensors["shift"], tensors["scale"])
    detector.network_ = detector._build().eval()
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    detector.network_.load_state_dict(weights)
    detector.offset_, detector.history_ = fitted["offset"], fitted["history"]
    if "center" in tensors:
        detector.center_, detector.radius_ = tensors["center"], fitted["radius"]
    return detector


class _Scorer(nn.Module):
    """Normalisation, network and score (and map) as one module: what ONNX runtimes see."""

    def __init__(self, detector):
        super().__init__()
        self.detector, self.network = detector, detector.network_

    def forward(self, images):
        outputs = self.network(self.detector.normalisation_(images))
        score = self.detector._score(outputs)
        return (score, self.detector._upsample(outputs)) if hasattr(self.detector, "_upsample") else score


def to_onnx(detector, path) -> None:
    """Writes a detector as ONNX: input ``images`` (N, C, H, W) float32 in [0, 1], output ``score`` (N,).

    FCDD also gives ``map`` (N, 1, H, W). Needs the extra ``onnx``. Raises ImportError without it.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX export needs the extra packages: pip install 'fcdd-book[onnx]'") from error
    example = torch.rand(2, *detector.image_shape_)
    names = ["score", "map"] if hasattr(detector, "_upsample") else ["score"]
    torch.onnx.export(
        _Scorer(detector).eval().cpu(),
        (example,),
        str(path),
        input_names=["images"],
        output_names=names,
        dynamic_shapes={"images": {0: torch.export.Dim("images_count")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )

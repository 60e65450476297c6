"""Detectors to files and back: safetensors with everything needed to score, ONNX to run without PyTorch.

Taught in: chapter 05.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.utils.validation import check_is_fitted
from torch import nn

from . import augment, detectors, patches, svdd

FORMAT = "fcdd-1"
ESTIMATORS = (
    svdd.SVDD,
    detectors.DeepSVDD,
    detectors.DeepSAD,
    detectors.HSC,
    detectors.FCDD,
    detectors.Autoencoder,
    patches.PatchNeighbours,
)
KNOWN = {cls.__name__: cls for cls in ESTIMATORS}
TUPLES = ("milestones", "layers")  # parameters that JSON turns into lists


def save(detector, path) -> None:
    """Writes a fitted detector to one safetensors file: arrays as tensors, parameters and numbers as metadata.

    Raises ValueError for a network given as a module or a kernel given as a function: only named ones can be made
    again.
    """
    parameters = {
        key: value.item() if isinstance(value, np.generic) else value for key, value in _named(detector).items()
    }
    tensors, fitted = _svdd_state(detector) if isinstance(detector, svdd.SVDD) else _network_state(detector)
    metadata = {"format": FORMAT, "class": type(detector).__name__}
    metadata |= {"parameters": json.dumps(parameters), "fitted": json.dumps(fitted)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, path, metadata=metadata
    )


def _named(detector) -> dict:
    """The parameters, as far as a file can hold them."""
    parameters = detector.get_params()
    if isinstance(parameters.get("network"), nn.Module) or callable(parameters.get("kernel")):
        raise ValueError(
            "expected a network by name and a kernel by name: modules and functions cannot be made again from a file"
        )
    if not isinstance(parameters.get("exposure", ""), str):
        parameters["exposure"] = None  # an array or a path is needed for training only
    if parameters.get("network_options"):  # nor is the file that training started from
        parameters["network_options"] = {**parameters["network_options"], "weights": None}
    return parameters


def _network_state(detector) -> tuple[dict, dict]:
    """What a fitted network scores with: its weights and constants, and the center or the bank if there is one."""
    check_is_fitted(detector, "network_")
    fitted = {"offset": detector.offset_, "contrast": detector.normalisation_.contrast}
    fitted |= {"image_shape": detector.image_shape_, "radius": getattr(detector, "radius_", None)}
    fitted |= {"history": getattr(detector, "history_", None)}
    tensors = {f"network.{key}": value for key, value in detector.network_.state_dict().items()}
    tensors |= {"shift": detector.normalisation_.shift, "scale": detector.normalisation_.scale}
    if hasattr(detector, "center_"):
        tensors["center"] = detector.center_
    if hasattr(detector, "bank_"):
        tensors["bank"] = torch.from_numpy(detector.bank_)
    return tensors, fitted


def _svdd_state(detector) -> tuple[dict, dict]:
    """All that fit left behind: arrays, and numbers."""
    check_is_fitted(detector)
    state = {key: value for key, value in vars(detector).items() if key not in detector.get_params()}
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray) and value.dtype != object}
    numbers = {key: value for key, value in state.items() if key not in arrays}
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in numbers.items()}
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, plain


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
    if metadata.get("class") not in KNOWN:
        raise ValueError(f"{path} holds an unknown detector {metadata.get('class')!r}; known: {', '.join(KNOWN)}")
    cls = KNOWN[metadata["class"]]
    if expected is not None and cls is not expected:
        raise ValueError(f"{path} holds a {cls.__name__}, expected a {expected.__name__}; call {cls.__name__}.load")
    parameters, fitted = json.loads(metadata["parameters"]), json.loads(metadata["fitted"])
    if cls is svdd.SVDD:
        detector = cls(**parameters)
        if "feature_names_in_" in fitted:  # of a table's columns
            fitted["feature_names_in_"] = np.array(fitted["feature_names_in_"], dtype=object)
        vars(detector).update(fitted, **{key: value.numpy() for key, value in tensors.items()})
        return detector
    parameters |= {name: tuple(parameters[name]) for name in TUPLES if name in parameters}
    return _restore(cls(**parameters), fitted, tensors)


def _restore(detector, fitted, tensors):
    detector.device_ = torch.device("cpu")
    detector.image_shape_ = tuple(fitted["image_shape"])
    detector.normalisation_ = augment.Normalisation(fitted["contrast"], tensors["shift"], tensors["scale"])
    detector.network_ = detector._build().eval()
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    detector.network_.load_state_dict(weights)
    detector.offset_ = fitted["offset"]
    if fitted["history"] is not None:
        detector.history_ = fitted["history"]
    if "center" in tensors:
        detector.center_, detector.radius_ = tensors["center"], fitted["radius"]
    if "bank" in tensors:
        detector._remember(tensors["bank"])
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

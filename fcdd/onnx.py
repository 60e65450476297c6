"""Detectors as ONNX, to run without PyTorch. Taught in: chapter 05."""

import copy

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn


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

    FCDD also gives ``map`` (N, 1, H, W). The detector stays as it is and where it is. Needs the extra ``onnx``: raises
    ImportError without it, NotFittedError before ``fit``, and ValueError for detectors without a network.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX export needs the extra packages: pip install 'fcdd-book[onnx]'") from error
    check_is_fitted(detector)
    if not hasattr(detector, "_score"):
        raise ValueError(f"expected a deep detector, got {type(detector).__name__}: it has no network to export")
    twin = copy.deepcopy(detector).to("cpu")
    names = {"input_names": ["images"], "output_names": ["score", "map"] if hasattr(twin, "_upsample") else ["score"]}
    any_number = {"images": {0: torch.export.Dim("images_count")}}
    options = names | {"dynamic_shapes": any_number, "dynamo": True, "external_data": False, "verbose": False}
    torch.onnx.export(_Scorer(twin).eval(), (torch.rand(2, *twin.image_shape_),), str(path), **options)

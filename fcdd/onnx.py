"""Detectors as ONNX, to run without PyTorch. Taught in: chapter 05."""

import copy

import numpy as np
import torch
from scipy import ndimage
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .files import whole
from .receptive import ReceptiveField, regrid


class _Scorer(nn.Module):
    """Normalisation, network and score (and map) as one module: what ONNX runtimes see."""

    def __init__(self, detector):
        super().__init__()
        self.detector, self.network = detector, detector.network_
        for name, value in vars(detector).items():  # a center moves with the module
            if isinstance(value, torch.Tensor):
                self.register_buffer(name, value)

    def forward(self, images):
        outputs = self.network(self.detector.normalisation_(images))
        score = self.detector._score(outputs)
        return (score, self.detector._upsample(outputs)) if hasattr(self.detector, "_upsample") else score


class _Patches(nn.Module):
    """The same for the patch memory: distances by one product of matrices, and a blur that is two more."""

    def __init__(self, detector):
        super().__init__()
        self.detector, self.network, self.whiten = detector, detector.network_, detector.whiten_
        self.register_buffer("middle", detector.memory_.mean(0))
        self.register_buffer("bank", detector.memory_ - self.middle)
        kernels = (np.eye(side, dtype=np.float32) for side in detector.image_shape_[1:])
        blurs = [ndimage.gaussian_filter1d(kernel, detector.sigma, 0) for kernel in kernels]
        self.rows, self.columns = map(torch.from_numpy, blurs)

    def forward(self, images):
        x = self.network(self.detector.normalisation_(images)).permute(0, 2, 3, 1)
        x = self.whiten(x) - self.middle
        places = (self.bank.square().sum(1) / 2 - x @ self.bank.T).argmin(3)
        near, field = (x - self.bank[places]).norm(dim=3)[:, None], self.network.field
        heat = regrid(near, field, ReceptiveField(1, 1, 0.0), self.detector.image_shape_[1:])
        return self.detector._highest(near), self.rows @ heat @ self.columns.T


def to_onnx(detector, path) -> None:
    """Writes a detector as ONNX: input ``images`` (N, C, H, W) float32 in [0, 1], output ``score`` (N,).

    FCDD and the patch memory also give ``map`` (N, 1, H, W). The detector stays as it is and where it is. Needs the
    extra ``onnx``: raises ImportError without it, NotFittedError before ``fit``, and ValueError for detectors without a
    network. See :func:`verify`.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX export needs the extra packages: pip install 'fcdd-book[onnx]'") from error
    scorer = _scorer(detector)
    maps = ["map"] if gives_maps(detector) else []
    names = {"input_names": ["images"], "output_names": ["score", *maps]}
    any_number = {"images": {0: torch.export.Dim("images_count")}}
    options = names | {"dynamic_shapes": any_number, "dynamo": True, "external_data": False, "verbose": False}
    with whole(path) as partial:
        partial.touch()  # that nothing can be written there is found before the export, which takes its time
        torch.onnx.export(scorer, (torch.rand(2, *scorer.detector.image_shape_),), str(partial), **options)


def gives_maps(detector) -> bool:
    """Whether the file has the output ``map``."""
    return hasattr(detector, "memory_") or hasattr(detector, "_upsample")


def _scorer(detector) -> nn.Module:
    """What is exported, with a copy of the detector on the CPU."""
    check_is_fitted(detector)
    kind = _Patches if hasattr(detector, "memory_") else _Scorer
    if kind is _Scorer and not hasattr(detector, "_score"):
        raise ValueError(f"expected a deep detector, got {type(detector).__name__}: it has no network to export")
    return kind(copy.deepcopy(detector).to("cpu")).eval()


def verify(detector, path) -> float:
    """Runs the file that :func:`to_onnx` wrote and compares it with the detector, on another number of images.

    Returns the largest difference as a share of the largest value; then the file's metadata hold ``threshold`` (above
    it: anomalous) and ``size``, height and width. Raises RuntimeError for a difference above 1e-4.
    """
    import onnx
    import onnxruntime

    scorer, session = _scorer(detector), onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.rand(3, *detector.image_shape_, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = scorer(images)
    expected = expected if isinstance(expected, tuple) else (expected,)
    pairs = zip(session.run(None, {"images": images.numpy()}), (each.numpy() for each in expected), strict=True)
    worst = max(float(abs(a - b).max() / max(abs(b).max(), 1e-12)) for a, b in pairs)
    if not worst <= 1e-4:
        raise RuntimeError(f"{path} gives other numbers than the detector, by {worst:.2g} of the largest")
    model = onnx.load(path)
    told = {"threshold": -float(detector.offset_), "size": "{} {}".format(*detector.image_shape_[1:])}
    onnx.helper.set_model_props(model, {name: str(value) for name, value in told.items()})
    with whole(path) as partial:
        onnx.save(model, partial)
    return worst

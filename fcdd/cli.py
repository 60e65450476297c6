"""The command line: ``fcdd fit``, ``fcdd score``, ``fcdd data``, ``fcdd study``. Taught in: the page on the library."""

import os
import sys
import traceback
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tqdm import tqdm

from .data import app as data
from .errors import verdict
from .memory import keep_freed

HELP = "Deep one-class classification, from SVDD to FCDD. --debug (or FCDD_DEBUG=1) shows the traceback of an error."
CODES = "Exit codes: 0 done, 1 the input (a file, a value), 2 the usage, 3 a bug in fcdd."
app = typer.Typer(help=HELP, epilog=CODES, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console, complaints = Console(emoji=False), Console(stderr=True, emoji=False)
EXTENSIONS = entry_points(group="fcdd.commands")  # the study's package adds its own commands here
PACKAGES = {"fcdd", *(extension.module.partition(".")[0] for extension in EXTENSIONS)}
app.add_typer(data, name="data")
for extension in EXTENSIONS:
    app.add_typer(extension.load(), name=extension.name)

WEIGHTS = "for fcdd_squeezenet and fcdd_vgg11bn: 'imagenet' or a file with pretrained weights"
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]


def main() -> None:
    """Runs the command line: what fcdd says about the input is one line, a bug is called a bug; --debug tells where."""
    keep_freed()
    debug = "--debug" in sys.argv or os.environ.get("FCDD_DEBUG", "") not in ("", "0")
    try:
        app([argument for argument in sys.argv[1:] if argument != "--debug"])
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, told = verdict(error, PACKAGES)
        told += "" if debug else " (--debug shows the traceback)"
        complaints.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(code) from error


@app.command()
def fit(
    images: Annotated[Path, typer.Argument(help="folder of good images, alone or beside defects as MVTec-AD has them")],
    model: Annotated[Path, typer.Option(help="where the model goes")] = Path("model.safetensors"),
    size: Annotated[int, typer.Option(help="shorter side in pixels that images are resized to")] = 224,
    epochs: int = 30,
    exposure: Annotated[str, typer.Option(help="confetti, photographs, a data set or a folder of images")] = "confetti",
    network: Annotated[str, typer.Option(help="an fcdd_* network that fits the size")] = "fcdd_cnn224",
    weights: Annotated[str | None, typer.Option(help=WEIGHTS)] = None,
    device: Device = "auto",
    seed: int = 0,
) -> None:
    """Learns from good images what normal looks like, and writes a model with a threshold."""
    from . import FCDD, calibration, layouts

    _refuse_place(model)
    layout = layouts.recognise(images)
    complaints.print(str(layout), markup=False, highlight=False, soft_wrap=True)
    X = layout.learn(size)[:]
    # From scratch: the paper's σ for small and large images. On pretrained features: chapter 06's settings.
    options: dict = {"sigma": 1.2 if size <= 32 else 8.0}
    if weights is not None:
        options = {"network_options": {"weights": weights}, "objective": "pixels", "augmentation": "parts"}
        options |= {"sigma": 12.0, "optimizer": "adam", "learning_rate": 1e-3, "decay": 1.0, "weight_decay": 1e-4}
    options |= {"network": network, "exposure": exposure, "epochs": epochs, "batch_size": min(16, max(2, len(X)))}
    detector = FCDD(device=device, seed=seed, **options)
    detector.fit(X, **calibration.choose(len(X), detector.nu)).save(model)
    promise = getattr(detector, "calibration_", f"threshold {-detector.offset_:.4g} from the images learnt from")
    console.print(f"{model}: {len(X)} images; {promise}", markup=False, highlight=False, soft_wrap=True)


def _refuse_place(model: Path) -> None:
    """Raises OSError, before hours of training, where the model could not be written after them."""
    above = next(folder for folder in (model, *model.absolute().parents) if folder.exists())
    if model.is_dir() or (above != model and not (above.is_dir() and os.access(above, os.W_OK))):
        what = "it is a folder" if model.is_dir() else f"{above} is no folder that can be written to"
        raise OSError(f"the model cannot be written to {model}: {what}; name a file, as --model model.safetensors")


@app.command()
def score(
    images: Annotated[Path, typer.Argument(help="folder of images to judge, or one image")],
    model: Annotated[Path, typer.Option(help="a model that fit wrote")] = Path("model.safetensors"),
    heatmaps: Annotated[Path | None, typer.Option(help="folder for heatmaps, one PNG an image")] = None,
    device: Device = "auto",
) -> None:
    """Scores images with a model: one line an image with its anomaly score, verdict and name; heatmaps if asked for.

    The folder may be larger than the memory: images are judged batch by batch. All heatmaps share one scale, set by a
    few hundred images evenly spread. Images that cannot be read are listed after all results; the exit code is then 1.
    """
    from . import explain, load, pictures

    detector, found = load(model), pictures.find(images)
    files, root = found.files, images if images.is_dir() else images.parent
    if not hasattr(detector, "image_shape_"):
        raise ValueError(f"expected a detector that was fitted on images by a network, {model} holds {detector}")
    detector.to(device)
    if not files:
        suffixes = ", ".join(sorted(pictures.SUFFIXES)) + ")" + pictures.said(found.passed)
        raise FileNotFoundError(f"expected images below {images}, found none (of {suffixes}")
    limits = None if heatmaps is None else _heatmap_limits(detector, files)
    alike = Counter(file.with_suffix("") for file in files)  # a.jpg beside a.png: their heatmaps keep the suffix
    damaged: dict[Path, str] = {}
    for some, X in _batches(files, detector.image_shape_, damaged):
        names = [file.relative_to(root) for file in some]
        scores = detector.anomaly_score(X)
        with tqdm.external_write_mode():
            for name, value in zip(names, scores, strict=True):
                verdict = "nominal  " if -value >= detector.offset_ else "anomalous"
                # As bytes: names may hold what the terminal's encoding does not.
                sys.stdout.buffer.write(os.fsencode(f"{value:<9.4g}  {verdict}  {name}\n"))
            sys.stdout.flush()
        if heatmaps is not None:
            stems = [name.with_suffix("") for name in names]
            named = [stem if alike[root / stem] == 1 else name for stem, name in zip(stems, names, strict=True)]
            explain.write_overlays(heatmaps, named, X, detector.anomaly_map(X), limits)
    if heatmaps is not None:
        console.print(f"{len(files) - len(damaged)} heatmaps in {heatmaps}", markup=False)
    if found.passed:
        complaints.print(str(found), markup=False, highlight=False, soft_wrap=True)
    if damaged:
        listed = "\n".join(f"- {reason}" for reason in damaged.values())
        raise ValueError(f"{len(damaged)} of {len(files)} images could not be judged:\n{listed}")


BATCH, SAMPLE = 64, 256  # images that fcdd score holds in memory, and that set the scale of heatmaps


def _batches(files, shape, damaged: dict[Path, str], title: str | None = "scoring"):
    """Yields (files, pixels) of at most ``BATCH`` images; what cannot be read goes into ``damaged`` with the reason."""
    import numpy as np
    import torch

    from . import pictures

    channels, *size = shape
    white = pictures.white_of(files)
    with tqdm(total=len(files), desc=title, unit=" images", leave=False, disable=None) as bar:
        for start in range(0, len(files), BATCH):
            pixels, some = {}, files[start : start + BATCH]
            for file in some:
                try:
                    pixels[file] = pictures.pixels(file, size, channels, white=white)
                except pictures.PictureError as error:  # costs no other image its result
                    damaged[file] = str(error)
            if pixels:
                yield list(pixels), torch.from_numpy(np.stack(list(pixels.values())))
            bar.update(len(some))


def _heatmap_limits(detector, files):
    """The scale of heatmaps, as :func:`fcdd.explain.write_overlays` wants it, from ``SAMPLE`` files evenly spread."""
    import numpy as np

    from . import explain

    spread = files[:: -(-len(files) // SAMPLE)]
    maps = [detector.anomaly_map(X) for _, X in _batches(spread, detector.image_shape_, {}, "scale of the heatmaps")]
    return explain.display_limits(np.concatenate(maps), 0.99) if maps else None

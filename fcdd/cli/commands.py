"""The commands fit, evaluate, score, export and info. Results go to stdout, all else to stderr.

What takes time to import is imported by the command that needs it. Taught in: the page on the library.
"""

import json as jsons
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import all_of

Model = Annotated[Path, typer.Option(help="a model that fcdd fit wrote")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="go on without pictures and masks that cannot be used")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what is there")]
MODEL = Path("model.safetensors")
WEIGHTS = "for fcdd_squeezenet and fcdd_vgg11bn: 'imagenet' or a file with pretrained weights"
GROUPS = (
    "what is alike and must be held out as a whole (sheets, days, batches): 'folder', a pattern like '^(\\d+)_' whose "
    "group is found in the file name, or table.csv:column, whose first column names the files; 'none': nothing"
)


def say(text) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def fit(
    folder: Annotated[Path, typer.Argument(help="good images, or a folder in a known layout (train/good, test/...)")],
    model: Annotated[Path, typer.Option(help="where the model goes; the report beside it as .html")] = MODEL,
    method: Annotated[str, typer.Option(help="fcdd, patches, hsc, ... (fcdd info lists the parameters)")] = "fcdd",
    network: Annotated[str | None, typer.Option("--network", "--backbone", help="None: by the images")] = None,
    size: Annotated[int | None, typer.Option(help="shorter side in pixels that images are brought to")] = None,
    tile: Annotated[
        int | None, typer.Option(help="side of overlapping tiles, for small defects in large images")
    ] = None,
    fpr: Annotated[
        float, typer.Option("--fpr", "--nu", help="false alarms among good images that you can bear")
    ] = 0.05,
    groups: Annotated[str | None, typer.Option(help=GROUPS)] = None,
    outliers: Annotated[Path | None, typer.Option(help="folder of images with known defects, to learn from")] = None,
    masks: Annotated[Path | None, typer.Option(help="folder of their masks, of the same names")] = None,
    exposure: Annotated[str | None, typer.Option(help="confetti, photographs, a data set, a folder of images")] = None,
    epochs: Annotated[int | None, typer.Option(help="None: what the method needs")] = None,
    weights: Annotated[str | None, typer.Option(help=WEIGHTS)] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="file from which a fit that was cut off goes on")] = None,
    device: Device = "auto",
    seed: int = 0,
    skip_bad: SkipBad = False,
    force: Force = False,
) -> None:
    """Learns from good images what normal looks like: writes a model with a threshold, and a report.

    fcdd fit my_images                          -> model.safetensors, model.html

    fcdd fit my_images --fpr 0.02 --groups folder --model plate.safetensors
    """
    report = model.with_suffix(".html")
    free([model, report], force)
    free([checkpoint] if checkpoint else [], force=True)
    from . import evaluation, learning
    from . import report as reports

    wanted: dict = {"network": network, "exposure": exposure, "epochs": epochs, "seed": seed, "device": device}
    wanted["network_options"] = {"weights": weights} if weights else None
    wanted = {name: value for name, value in wanted.items() if value is not None}
    job = learning.prepare(folder, method, size, fpr, wanted, groups, outliers, masks, tile, skip_bad)
    for line in (job.layout, *job.said):
        say(line)
    judged = learning.learn(job, checkpoint)
    job.detector.save(model)
    for problem in judged.problems.values():
        say(f"warning: {problem}")
    promise = getattr(job.detector, "calibration_", None)
    promise = promise or f"threshold {-job.detector.offset_:.4g} from the images learnt from"
    print(f"{model}: {job.good} images; {promise}")
    result = evaluation.measure(job.detector, judged)
    reports.write(report, job.detector, judged, result, job.layout, not len(job.layout.test), job.said)
    print(f"{report}: the report")
    for line in unused(job.layout, job.skipped):
        say(line)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="a folder with good and bad test images, in any known layout")],
    model: Model = MODEL,
    json: Annotated[bool, typer.Option("--json", help="print the numbers as JSON")] = False,
    report: Annotated[Path | None, typer.Option(help="the HTML report; default: MODEL-FOLDER.html")] = None,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    force: Force = False,
) -> None:
    """Judges images of which it is known whether they are good, and says how often the model is right.

    fcdd evaluate my_images --model plate.safetensors --json
    """
    from .. import layouts
    from . import evaluation, learning
    from . import report as reports

    report = report or model.with_name(f"{model.stem}-{folder.resolve().name}.html")
    free([report], force)
    detector, layout = image_detector(model, device), layouts.recognise(folder)
    layout, skipped = learning.usable(layout) if skip_bad else (layout, [])
    say(layout)
    masks = evaluation.read_masks(layout, detector.image_shape_)
    test = (layout.test, layout.anomalous, masks)
    if not layout.test:
        say("no test images: all are judged as good ones")
        test = (layout.good, [False] * len(layout.good))
    judged = evaluation.judge(detector, *test)
    result = evaluation.measure(detector, judged)
    reports.write(report, detector, judged, result, layout)
    if json:
        print(jsons.dumps(result | {"report": str(report)}, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:<24}{value:.4g}" if isinstance(value, float) else f"{name:<24}{value}")
        print(f"{'report':<24}{report}")
    for line in unused(layout, skipped):
        say(line)
    damaged([*judged.problems.values()], len(test[0]))


def export(
    name: Annotated[Path | None, typer.Argument(help="the ONNX file to write; with --page the model")] = None,
    model: Model = MODEL,
    page: Annotated[
        Path | None, typer.Option(help="write one HTML file instead that judges pictures by itself")
    ] = None,
    force: Force = False,
) -> None:
    """Writes a model as ONNX, to run without PyTorch, and checks that it gives the same scores and maps.

    With --page it writes a page that opens from disk in any browser, with nothing installed: pictures dropped there get
    score, verdict and heatmap, and leave the machine in no way.

    fcdd export plate.onnx --model plate.safetensors

    fcdd export plate.safetensors --page plate.html
    """
    if page is not None:
        free([page], force)
        from . import page as pages

        pages.write(page, image_detector(name or model, "cpu"), name or model)
        print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser, it needs no network")
        return
    if (to := name) is None:
        raise ValueError("expected the ONNX file to write, as in: fcdd export plate.onnx; or --page plate.html")
    free([to], force)
    from ..onnx import to_onnx, verify

    detector = image_detector(model, "cpu")
    if hasattr(detector, "inner_"):
        say(f"the file judges one tile of {detector.tile} px; {model} takes the worst tile of an image")
        detector.inner_.offset_ = detector.offset_  # which the threshold is for
        detector = detector.inner_
    to_onnx(detector, to)
    print(f"{to}: the same scores and maps as {model}, up to {verify(detector, to):.1g} of their size")


def info(model: Annotated[Path, typer.Argument(help="a model that fcdd fit wrote")] = MODEL) -> None:
    """Says what a model is: its settings, what it learnt from, what its threshold promises.

    fcdd info plate.safetensors
    """
    from .. import load
    from .report import settings

    for name, value in settings(load(model)).items():
        print(f"{name:<24}{value}")


def image_detector(model: Path, device: str):
    """The detector in a file, which must judge images. Raises ValueError otherwise."""
    from .. import load

    detector = load(model)
    if not hasattr(detector, "image_shape_"):
        raise ValueError(f"expected a detector that was fitted on images by a network, {model} holds {detector}")
    return detector.to(device)


def unused(layout, skipped: Sequence[str]) -> list[str]:
    """What is said at the end of what was not used."""
    from ..pictures import said

    told = [f"{layout.root}{said(layout.passed)}"] if layout.passed else []
    return told + ([str(all_of(skipped, "skipped"))] if skipped else [])


def damaged(problems: Sequence[str], number: int, skip: bool = False) -> None:
    """Raises ValueError that lists the images that could not be read, or says so if they may be skipped."""
    if problems:
        listed = all_of(problems, f"of {number} images could not be judged")
        if not skip:
            raise listed
        say(listed)


def free(paths: Sequence[Path], force: bool = False) -> None:
    """Raises an error for paths that cannot be written, or hold something already that nobody has said to overwrite;
    before work is done that would be lost."""
    taken = [path for path in paths if path.exists()]
    if folders := [path for path in taken if path.is_dir()]:
        raise IsADirectoryError(f"expected a file to write to, {folders[0]} is a folder; name a file in it")
    if taken and not force:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise FileExistsError(f"{taken[0]}{more} would be overwritten; choose another name, or say --force")
    for parent in {path.parent for path in paths}:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            raise OSError(f"nothing can be written into {parent} ({error.strerror}); choose another place") from error

"""The command score: a line for each picture as it is judged, and heatmaps at the picture's own size.

Taught in: the page on the library.
"""

import csv
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from os.path import abspath, commonpath
from pathlib import Path
from typing import Annotated

import typer

from .commands import MODEL, Device, Force, Model, SkipBad, damaged, free, image_detector, say


class Raw(StrEnum):
    npy, tiff = "npy", "tiff"


def score(
    images: Annotated[list[Path], typer.Argument(help="files and folders of images to judge")],
    model: Model = MODEL,
    as_csv: Annotated[bool, typer.Option("--csv", help="print a table: file, score, verdict, p")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
    heatmaps: Annotated[Path | None, typer.Option(help="folder for heatmaps, one PNG an image, at its size")] = None,
    raw: Annotated[Raw | None, typer.Option(help="beside each its values, float32 at the image's size")] = None,
    own_scale: Annotated[bool, typer.Option("--own-scale", help="for each heatmap, not one for all")] = False,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    force: Force = False,
) -> None:
    """Scores images with a model: one line an image with its anomaly score, verdict and name; heatmaps if asked for.

    There may be more images than fit into memory. p is how often a good image scores as high. What cannot be read is
    listed after all results; the exit code is then 1, unless --skip-bad says that it may be so.

    fcdd score new_images --model plate.safetensors --heatmaps heatmaps --csv > scores.csv
    """
    from . import evaluation

    detector, (named, passed) = image_detector(model, device), _named(images)
    printed = _printer(as_csv, as_json, getattr(detector, "calibration_scores_", None))
    if heatmaps is None:
        results = _watched(detector, list(named), "scoring", maps=False)
    else:
        targets, suffixes = _targets(heatmaps, named), [".png", *([f".{raw}"] if raw else [])]
        free([path.with_name(path.name + suffix) for path in targets.values() for suffix in suffixes], force)
        results = _with_heatmaps(detector, targets, raw, own_scale)
    scores, squeezed, problems = [], 0, []
    for each in results:
        if each.problem:
            problems.append(each.problem)
        else:
            squeezed += each.squeezed
            scores.append(each.score)
            printed(each, named[each.source])
    if heatmaps is not None:
        say(f"{len(scores)} heatmaps in {heatmaps}")
    if squeezed:
        say(f"warning: {squeezed} images have another aspect ratio than those learnt from, and were squeezed to it")
    if shift := evaluation.shifted(detector, scores, labelled=False):
        say(f"warning: {shift}")
    for each in passed:
        say(each)
    damaged(problems, len(named), skip_bad)


def _named(paths: Sequence[Path]) -> tuple[dict[Path, Path], list]:
    """The files to judge, each with its name below what was named, and what of that passed something over."""
    from .. import pictures

    found = [pictures.find(path) for path in paths]
    files = [file for each in found for file in each.files]
    if not files:
        raise FileNotFoundError(f"expected images below {', '.join(map(str, paths))}, found none")
    base = commonpath([abspath(path if path.is_dir() else path.parent) for path in paths])
    return {file: Path(abspath(file)).relative_to(base) for file in files}, [each for each in found if each.passed]


def _targets(folder: Path, named: dict[Path, Path]) -> dict[Path, Path]:
    """Where the heatmap of each file goes, without suffix; of a.jpg beside a.png both keep theirs."""
    alike = Counter(name.with_suffix("") for name in named.values())
    alone = {file: name.with_suffix("") for file, name in named.items() if alike[name.with_suffix("")] == 1}
    return {file: folder / name for file, name in (named | alone).items()}


def _printer(as_csv: bool, as_json: bool, known) -> Callable:
    """What prints a result under a name, in the form asked for. Raises ValueError for two forms."""
    from .. import calibration

    if as_csv and as_json:
        raise ValueError("expected --csv or --json, got both")
    rows = csv.writer(sys.stdout, lineterminator="\n")
    if as_csv:
        rows.writerow(["file", "score", "verdict", "p"])

    def printed(each, name) -> None:
        verdict = "nominal" if each.verdict > 0 else "anomalous"
        p = None if known is None else float(calibration.p_values(known, [each.score])[0])
        if as_csv:
            rows.writerow([name, f"{each.score:.6g}", verdict, "" if p is None else f"{p:.4g}"])
        elif as_json:
            print(json.dumps({"file": str(name), "score": each.score, "verdict": verdict, "p": p}))
        else:
            print(f"{each.score:<9.4g}  {verdict:<9}  {name}")

    return printed


def _watched(detector, files, title: str, maps: bool) -> Iterator:
    """The results of :func:`fcdd.stream.stream` with a progress bar."""
    from tqdm import tqdm

    from ..stream import stream

    with tqdm(total=len(files), desc=title, unit=" images", leave=False, disable=None) as bar:
        for each in stream(detector, files, maps):
            bar.update()
            with tqdm.external_write_mode():
                yield each


SAMPLE = 256  # images of 256 pixels' side that set the shared scale of heatmaps; fewer of larger ones


def _with_heatmaps(detector, targets: dict[Path, Path], raw, own_scale: bool) -> Iterator:
    """The results, each yielded while its heatmap is being written in a thread."""
    import numpy as np

    from ..explain import display_limits

    files, limits, results = list(targets), None, None
    if not own_scale:
        height, width = detector.image_shape_[1:]
        spread = files[:: -(-len(files) // max(16, min(SAMPLE, SAMPLE * 2**16 // (height * width))))]
        sample = list(_watched(detector, spread, "judging" if spread == files else "scale of the heatmaps", True))
        maps = [each.map for each in sample if not each.problem]
        limits = display_limits(np.stack(maps), 0.99) if maps else None
        results = sample if spread == files else None
    results = _watched(detector, files, "scoring", maps=True) if results is None else results
    with ThreadPoolExecutor() as pool:
        waiting: deque = deque()
        for each in results:
            if not each.problem:
                waiting.append(pool.submit(_write, detector, each, targets[each.source], raw, limits))
            if len(waiting) > 32:
                waiting.popleft().result()
            yield each
        for written in waiting:
            written.result()


def _write(detector, each, target: Path, raw: Raw | None, limits) -> None:
    """The picture beside its overlay, and the map's values, both at the picture's own size."""
    import numpy as np
    from PIL import Image

    from .. import explain, pictures
    from ..files import whole

    picture = pictures.read(each.source, getattr(detector, "pictures_", {}).get("white"))
    heat = explain.at_size(each.map, picture.shape[:2])
    shown = explain.for_display(heat[None], 0.99, per_image=limits is None, limits=limits)[0]
    with whole(target.with_name(f"{target.name}.png")) as partial:
        explain.save(explain.overlay(picture, shown), partial)
    if raw is not None:
        with whole(target.with_name(f"{target.name}.{raw}")) as partial:
            if raw == Raw.npy:
                np.save(partial, heat)
            else:
                Image.fromarray(heat).save(partial, tiffinfo={305: pictures.STAMP})

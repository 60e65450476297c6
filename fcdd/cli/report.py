"""One HTML file that says how a detector does: pictures inside, no scripts, for the screen, the telephone and paper.

Taught in: the page on your own images.
"""

import base64
import hashlib
import io
import platform
from collections import Counter, defaultdict
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image
from scipy import ndimage

from .. import __version__ as fcdd_version
from .. import explain, figures, pictures
from ..files import whole
from . import evaluation

SHOWN, SIDE = 8, 320  # pictures in a row of the report, and their longer side
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")


def write(path: Path, detector, judged: evaluation.Judged, result: dict, layout, learnt: bool = False, said=()) -> None:
    """Writes the report of a detector on ``judged`` images of a ``layout`` with the measured ``result``; ``learnt``: of
    the very images that it learnt from, in a folder without a test."""
    name = type(detector).__name__
    groups = [(*of, _pictures(detector, judged, places)) for *of, places in _chosen(detector, judged, learnt)]
    data = overview(layout)
    page = Environment(loader=PackageLoader("fcdd.cli", "."), autoescape=True).get_template("report.html")
    text = page.render(
        title=layout.root.resolve().name, learnt=learnt, result=result, layout=str(layout), groups=groups,
        warnings=[*said, *warnings(detector, judged, result, data)], overview=data,
        promise=getattr(detector, "calibration_", None), shift=result.get("shift"), settings=settings(detector),
        versions={"fcdd": fcdd_version, "Python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        curve=getattr(detector, "history_", None) and _figure(figures.training_curve({name: detector.history_})),
        histogram=_histogram(detector, judged, learnt) if judged.files else "",
        roc=_figure(figures.roc(judged.anomalous, {name: judged.scores})) if "auroc" in result else None,
    )  # fmt: skip
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _histogram(detector, judged, learnt: bool) -> str:
    """Of the judged images; good ones are those that the threshold was calibrated on where none others are known."""
    known, scores, anomalous = getattr(detector, "calibration_scores_", np.zeros(0)), judged.scores, judged.anomalous
    if learnt and len(known):
        scores, anomalous = known, np.zeros(len(known), bool)
    elif anomalous.all():
        scores, anomalous = np.append(known, scores), np.append(np.zeros(len(known), bool), anomalous)
    bins = int(np.clip(len(scores) / 3, 12, 50))
    return _figure(figures.score_histogram(anomalous, scores, detector.offset_, bins=bins))


def _chosen(detector, judged, learnt: bool) -> list[tuple[str, str, np.ndarray]]:
    """Headings, a line, and the places of the images to show."""
    order, bad, alarm = np.argsort(-judged.scores), judged.anomalous, judged.scores > -detector.offset_
    if learnt:
        text = "They were learnt from. Look whether they are good: a defect among them would be learnt as normal."
        return [("Strangest of the good images", text, order[:SHOWN]), ("Most ordinary", "", order[::-1][:3])]
    by = "by score, the clearest error first"
    chosen = [
        ("Missed defects", by, order[::-1][(bad & ~alarm)[order[::-1]]]),
        ("False alarms", by, order[(~bad & alarm)[order]]),
        ("Most anomalous of all", "", order[: SHOWN // 2]),
        ("Most ordinary of all", "", order[::-1][: SHOWN // 2]),
    ]
    return [(f"{name} ({len(places)})" if line else name, line, places[:SHOWN]) for name, line, places in chosen]


def _pictures(detector, judged, places) -> list[dict]:
    """Each picture beside its heatmap, all on one scale, with name, score and what it is."""
    limits = explain.display_limits(np.stack(judged.maps), 0.99) if judged.maps else None
    found, white = [], getattr(detector, "pictures_", {}).get("white")
    for k in places:
        picture = pictures.read(judged.files[k], white)
        mask = None if judged.masks is None else explain.at_size(judged.masks[k], picture.shape[:2]) > 0.5
        heat = explain.at_size(judged.maps[k], picture.shape[:2])
        shown = explain.overlay(picture, explain.for_display(heat[None], limits=limits)[0])
        if mask is not None:
            shown[:, : mask.shape[1]][mask ^ ndimage.binary_erosion(mask, iterations=2)] = (0, 220, 255)
        image = Image.fromarray(shown)
        image.thumbnail((2 * SIDE, SIDE))
        said = "anomalous" if judged.scores[k] > -detector.offset_ else "nominal"
        label = f"{'defect' if judged.anomalous[k] else 'good'}, called {said}"
        name = "/".join(judged.files[k].parts[-2:])
        found.append({"name": name, "score": f"{judged.scores[k]:.4g}", "label": label, "source": _embedded(image)})
    return found


def overview(layout) -> dict:
    """Numbers of files, their sizes and the odd ones, and files of the same content."""
    files, sizes, same = [*layout.good, *layout.test], defaultdict(list), defaultdict(list)
    for file in files:
        with suppress(pictures.PictureError):  # told where it is judged
            sizes[pictures.size_of(file)].append(file)
        same[hashlib.sha256(Path(file).read_bytes()).digest()].append(file)
    common = max(sizes, key=lambda size: len(sizes[size]), default=None)
    good = set(layout.good)
    names = {file: file.relative_to(layout.root).as_posix() for file in files}
    repeated = [sorted(each) for each in same.values() if len(each) > 1]
    return {
        "counts": Counter({"good, learnt from": len(layout.good)}) + Counter(f"test: {kind}" for kind in layout.kinds),
        "sizes": {f"{w}×{h} px": len(of) for (h, w), of in sorted(sizes.items(), key=lambda each: -len(each[1]))},
        "odd": [names[file] for size, of in sizes.items() if size != common for file in of],
        "repeated": [[names[file] for file in each] for each in repeated],
        "leaked": [names[file] for each in repeated if good & {*each} for file in each if file not in good],
        "passed": {reason: len(of) for reason, of in layout.passed.items()},
    }


def warnings(detector, judged, result: dict, data: dict) -> list[str]:
    """What the reader must know before believing a number."""
    told = []
    if data["leaked"]:
        told.append(
            f"{len(data['leaked'])} test images are copies of images that were learnt from: the numbers flatter"
        )
    if result.get("shifted"):
        told.append(result["shift"])
    if judged.masks and (small := pictures.small_defects(judged.masks, evaluation.cell(detector))):
        told.append(small)
    if judged.problems:
        told.append(f"{len(judged.problems)} images could not be read: {', '.join(map(str, judged.problems))}")
    if not hasattr(detector, "calibration_"):
        told.append("the threshold comes from images that were learnt from: expect more false alarms than asked for")
    return told


def settings(detector) -> dict:
    """A detector's parameters, what "auto" became, what it learnt from and what its threshold promises."""
    told = {"detector": type(detector).__name__} | detector.get_params(deep=False)
    told |= {
        f"{name}, resolved": value
        for name, value in getattr(getattr(detector, "inner_", detector), "resolved_", {}).items()
    }
    told |= {"image shape": detector.image_shape_} if hasattr(detector, "image_shape_") else {}
    told |= getattr(detector, "pictures_", {})
    told["threshold"] = f"{-detector.offset_:.6g}"
    return told | ({"promise": str(detector.calibration_)} if hasattr(detector, "calibration_") else {})


def _figure(figure) -> str:
    """A matplotlib figure as a data address, drawn for the width of a telephone."""
    import matplotlib.pyplot as plt

    held = io.BytesIO()
    figure.set_size_inches(4.4, 3)
    with plt.rc_context({"svg.hashsalt": "fcdd"}):
        figure.savefig(held, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(held.getvalue()).decode()


def _embedded(image: Image.Image) -> str:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()

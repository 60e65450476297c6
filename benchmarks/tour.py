"""Walks through the page "Your own images" as a reader would, and keeps what it said: ``python -m benchmarks.tour``.

Each command of the page runs in an empty folder, on a paper type of the package that no setting was chosen on. Kept are
the commands, what they print, how long they take, and pictures of what they write.
"""

import subprocess
import tempfile
import textwrap
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from fcdd_study.printed import BROWSERS, browser

from .__main__ import write
from .command import clocked
from .compare import ROOT
from .hardware import describe

RECORD = ROOT / "benchmarks" / "records" / "tour.json"
PICTURES = ROOT / "book" / "_static" / "your_images"
STEPS = {
    "data": "fcdd data copy piped-small papers",
    "fit": "fcdd fit papers/gla01_tl --model gla01.safetensors",
    "score": "fcdd score papers/gla01_tl/test/impurity --model gla01.safetensors --heatmaps heatmaps --csv",
    "one": "fcdd score papers/gla01_tl/test/good/09_1.jpg --model gla01.safetensors",
    "evaluate": "fcdd evaluate papers/gla01_tl --model gla01.safetensors",
    "patches": "fcdd fit papers/gla01_tl --method patches --model patches.safetensors",
    "export": "fcdd export gla01.onnx --model gla01.safetensors",
    "info": "fcdd info gla01.safetensors",
}


def walk(folder: Path) -> dict[str, dict]:
    """Runs the steps in ``folder``; what each printed, its exit code and seconds."""
    found = {}
    for name, command in STEPS.items():
        told, seconds = clocked(folder, *command.split()[1:], COLUMNS="100", TQDM_DISABLE="1")
        found[name] = {"command": command, "said": told.stderr, "printed": told.stdout, "seconds": seconds}
    return found


def shortened(step: dict, most: int = 8, width: int = 150) -> str:
    """What a step said, its longest lines folded, of many lines the first and the last."""
    lines = [part for line in (step["said"] + step["printed"]).splitlines() for part in textwrap.wrap(line, width)]
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 2], "…", lines[-1]])


def pictures(folder: Path, to: Path) -> None:
    """The report as a browser shows it, on a desk and on a telephone, and three heatmaps."""
    to.mkdir(parents=True, exist_ok=True)
    heatmaps = [Image.open(file) for file in sorted((folder / "heatmaps").glob("*.png"))[-3:]]
    sheet = Image.new("RGB", (heatmaps[0].width * 3, heatmaps[0].height))
    for k, image in enumerate(heatmaps):
        sheet.paste(image, (k * image.width, 0))
    sheet.save(to / "heatmaps.png", optimize=True)
    program = browser()
    if program is None:
        raise RuntimeError(f"none of {', '.join(BROWSERS)} is installed: no pictures of the report")
    for name, size in (("report", "1000,1150"), ("report_small", "500,900")):
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}", "--hide-scrollbars"]
        options += [f"--user-data-dir={folder / 'browser'}", f"--screenshot={folder / name}.png"]
        subprocess.run([program, *options, (folder / "gla01.html").as_uri()], check=True, capture_output=True)
        small(folder / f"{name}.png", to, 64)


def small(picture: Path, to: Path, colours: int) -> None:
    """Puts a picture into a folder with few colours."""
    palette = Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=colours)
    palette.save(to / picture.name, optimize=True)


def page(folder: Path, to: Path) -> None:
    """The detector in one HTML file, as a browser shows it after it has judged six pictures."""
    from playwright import sync_api

    clocked(folder, "export", "gla01.safetensors", "--page", "detector.html", "--force")
    test = folder / "papers/gla01_tl/test"
    judged = [test / f"{kind}/{name}.jpg" for kind in ("good", "impurity") for name in ("09_1", "10_1", "11_1")]
    with sync_api.sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        tab = program.new_context(offline=True, viewport={"width": 1000, "height": 900}).new_page()
        tab.goto((folder / "detector.html").as_uri())
        tab.wait_for_selector("#files:enabled")
        tab.set_input_files("#files", judged)
        tab.wait_for_selector("#state:has-text('nominal.')")
        tab.screenshot(path=folder / "page.png")
    small(folder / "page.png", to, 128)


def main(record: Annotated[bool, typer.Option("--record", help="keep words and pictures")] = False) -> None:
    """Prints what each step of the page says and how long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        found = walk(Path(folder))
        for step in found.values():
            print(f"$ {step['command']}   ({step['seconds']:.0f} s)\n{step['said']}{step['printed']}")
        if record:
            pictures(Path(folder), PICTURES)
            page(Path(folder), PICTURES)
            write({"steps": found, "hardware": describe("cpu")}, RECORD)


if __name__ == "__main__":
    typer.run(main)

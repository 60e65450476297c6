"""The detector in one HTML file that the book links, of paper, made by the commands that readers type, and pictures to
drop into it."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fcdd.cli import page

PAGE, SAMPLES, LARGEST = "detector.html", ("good/09_1", "good/10_3", "impurity/09_1", "impurity/10_3"), 10e6
STEPS = (
    "data copy piped-small papers",
    "fit papers/gla01_tl --model gla01.safetensors",
    f"export gla01.safetensors --page {PAGE}",
)


def write(folder: Path, profile: str = "quick") -> str:
    """Writes the page and the pictures to the folder. Returns why there is none, where its runtime cannot be had."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        page.runtime()
    except (OSError, ValueError) as error:  # without npm, without a network, another file in its place
        return str(error)
    with tempfile.TemporaryDirectory() as work:
        for step in STEPS:
            brief = ["--epochs", "1"] if profile == "smoke" and step.startswith("fit") else []
            subprocess.run([sys.executable, "-m", "fcdd", *step.split(), *brief], cwd=work, check=True)
        if (size := (Path(work) / PAGE).stat().st_size) > LARGEST:
            return f"it has {size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}"
        for name in SAMPLES:
            shutil.copyfile(Path(work) / f"papers/gla01_tl/test/{name}.jpg", folder / f"{name.replace('/', '_')}.jpg")
        shutil.copyfile(Path(work) / PAGE, folder / PAGE)
    return ""

"""The book: executed chapters that pass the gate, put beside the pages, rendered by Jupyter Book."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import chapters, records


def render(profile: str) -> Path:
    """Renders the chapters in ``_build/chapters/<profile>`` to ``_build/html``; returns the book's first page.

    Raises ChapterError with everything that is wrong with the chapters, or with Jupyter Book's warnings: none is
    tolerated.
    """
    root, build = records.ROOT, records.ROOT / "_build"
    executed = build / "chapters" / profile
    check(root / "notebooks", executed)
    source = stage(root, executed, build / "source")
    # Its console script would not start from a folder whose path holds a space, and it cannot be run with -m.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(source), "--path-output", str(root)]
    environment = os.environ | {"FCDD_PROFILE": profile, "FCDD_ROOT": str(root)}
    result = subprocess.run(
        [*command, "-W", "-n", "--keep-going", "--quiet"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    index = build / "html" / "index.html"
    if result.returncode or not index.exists():
        lines = [line for line in (result.stdout + result.stderr).splitlines() if "WARNING" in line or "ERROR" in line]
        told = lines or (result.stdout + result.stderr).splitlines()[-30:]
        raise chapters.ChapterError("Jupyter Book did not build cleanly:\n" + "\n".join(told))
    return index


def check(notebooks: Path, executed: Path) -> None:
    """The gate: every chapter executed from first to last cell, without errors, by today's code."""
    wrong = []
    for notebook in sorted(notebooks.glob("*.ipynb")):
        result = executed / notebook.name
        found = chapters.problems(result, notebook) if result.exists() else ["was not executed"]
        wrong += [f"- {notebook.stem}: {problem}" for problem in found]
    if wrong:
        raise chapters.ChapterError("these chapters cannot enter the book; run make book again:\n" + "\n".join(wrong))


def stage(root: Path, executed: Path, source: Path) -> Path:
    """Puts configuration, pages and executed chapters together, as Jupyter Book wants them. Unchanged files keep their
    times, so that Sphinx renders only what changed."""
    files = {Path("_config.yml"): root / "_config.yml", Path("_toc.yml"): root / "_toc.yml"}
    pages = [p for p in (root / "book").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    files |= {page.relative_to(root): page for page in pages}
    files |= {chapter.relative_to(root): executed / chapter.name for chapter in (root / "notebooks").glob("*.ipynb")}
    for old in [p for p in source.rglob("*") if p.is_file() and p.relative_to(source) not in files]:
        old.unlink()
    for name, file in files.items():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != file.read_bytes():
            shutil.copyfile(file, target)
    return source

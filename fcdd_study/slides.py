"""Slides: a deck a chapter, of the chapter's own figures and of numbers from the records of its build.

A deck is book/slides/NN_name.md, in which ``![](c07)`` stands for what the chapter's cell c07 shows; where there is
none, :func:`deck` makes one of the chapter. Taught in: the page "Teaching with this book".
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import chapters, course, plain, records

SHOWN = re.compile(r"^!\[\]\(([\w-]+)\)$", re.MULTILINE)


def render(profile: str) -> Path:
    """Renders the slides of all chapters in ``_build/chapters/<profile>`` to ``_build/slides``, a page each.

    Raises ChapterError for a chapter that was not executed, and with Sphinx's warnings: none is tolerated.
    """
    root, build = records.ROOT, records.ROOT / "_build"
    source, target = build / "slides-source", build / "slides"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "book" / "slides", source)
    for notebook in sorted((root / "notebooks").glob(course.CHAPTERS)):
        executed = build / "chapters" / profile / notebook.name
        if not executed.exists():
            raise chapters.ChapterError(f"no slides without {executed}; run make book")
        _put(json.loads(executed.read_text(encoding="utf-8")), source / f"{notebook.stem}.md")
    names = sorted(path.stem for path in source.glob("*.md"))
    listed = "\n".join(f"- [{title(source / f'{name}.md')}]({name}.md)" for name in names)
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])
    (source / "index.md").write_text(f"# Slides\n\n{listed}\n\n{toctree}\n", encoding="utf-8")
    environment = os.environ | {"FCDD_PROFILE": profile, "FCDD_ROOT": str(root)}
    command = [sys.executable, "-m", "sphinx", "-b", "revealjs", "-W", "--keep-going", "-q", str(source), str(target)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if told.returncode:
        raise chapters.ChapterError("the slides did not build cleanly:\n" + told.stderr.strip())
    for left in (".doctrees", ".buildinfo", "objects.inv", "_sources"):
        shutil.rmtree(target / left, ignore_errors=True)
        (target / left).unlink(missing_ok=True)
    return target / "index.html"


def title(deck: Path) -> str:
    """The first heading of a deck."""
    return deck.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _put(executed: dict, deck_file: Path) -> None:
    """Writes a deck with the chapter's figures in their places, and these beside it."""
    text = deck_file.read_text(encoding="utf-8") if deck_file.exists() else deck(executed)
    cells = {cell["id"]: cell for cell in executed["cells"]}

    def shown(match):
        if match[1] not in cells:
            raise chapters.ChapterError(f"{deck_file.name} shows the cell {match[1]!r}, which its chapter has not")
        file = deck_file.parent / "figures" / f"{deck_file.stem}-{match[1]}.png"
        return show(cells[match[1]], file, deck_file.parent)

    deck_file.write_text(SHOWN.sub(shown, text), encoding="utf-8")


def show(cell: dict, file: Path, folder: Path) -> str:
    """What an executed cell shows, as Markdown: its picture, which is written to ``file``, else its last text."""
    outputs = [output.get("data", {}) | {"stream": output.get("text")} for output in cell["outputs"]]
    pictures = [output["image/png"] for output in outputs if "image/png" in output]
    if pictures:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(pictures[-1]))
        return f"![{alt(cell)}]({file.relative_to(folder).as_posix()})"
    texts = [output.get("text/plain") or output["stream"] for output in outputs]
    if not any(texts):
        raise chapters.ChapterError(f"the cell {cell['id']!r} shows nothing that a slide could show")
    text = "".join(texts[-1]).strip("\n")
    if " object at 0x" in text:  # a styled table has no text of its own
        raise chapters.ChapterError(f"the cell {cell['id']!r} shows {text} as text; let it show a DataFrame")
    if re.search(r"  \\$", text, re.MULTILINE):  # how pandas, but no shell, breaks lines
        raise chapters.ChapterError(f"the table of the cell {cell['id']!r} is too wide for a slide; let it show less")
    return f"```text\n{text}\n```"


def alt(cell: dict) -> str:
    """How a chapter describes the picture of a cell."""
    return cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")


def deck(executed: dict) -> str:
    """A deck made of an executed chapter: its question, its goals, the line that changes, each figure below its heading
    with the words before it as notes, its questions, and what to take away."""
    slides, heading, words = [], "", ""
    for cell in executed["cells"]:
        text = course.source(cell)
        if cell["cell_type"] == "markdown":
            found = [each for each in map(_slide, plain.blocks(text)) if each]
            if heads := re.findall(r"^#+ (.+)$", text, re.MULTILINE):
                heading = heads[-1]
            if heading == "Exercises":
                break
            words = plain.plain(re.sub(r"^#+ .+$|^\|.*$", "", plain.FENCE.sub("", text + "\n"), flags=re.MULTILINE))
            slides += [_begin(heads[0], words)] if not slides else found
            if heading == "Take away":
                slides.append("## Take away\n\n" + "\n".join(re.findall(r"^- .+$", text, re.MULTILINE)))
        elif any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            slides.append(f"## {heading}\n\n![]({cell['id']})\n\n" + notes(f"{words} {alt(cell)}"))
            words = ""
    return "\n\n".join(slides) + "\n"


def _begin(heading: str, words: str) -> str:
    return f"# {heading}\n\n{words}\n\n" + notes(
        "Made of the chapter: the words before a figure there are its notes here."
    )


def _slide(block: plain.Block) -> str | None:
    """The slide of a directive, None for one that has none."""
    if block.name == "goals":
        return f"## What you can do afterwards\n\n{block.content}\n\n" + notes(
            f"Before: {plain.plain(block.options['before'])}"
        )
    if block.name == "quiz":
        return f"## Check yourself\n\n```{{quiz}} {block.argument}\n```\n\n" + notes("Let the class vote by letter.")
    if block.name == "one-line":
        formulas = "\n\n".join(re.findall(r"\$\$.*?\$\$", block.content, re.DOTALL))
        options = "\n".join(f":{name}: {value}" for name, value in block.options.items())
        words = re.sub(r"\$\$.*?\$\$", "", block.content, flags=re.DOTALL)
        return (f"## The one line that changes\n\n```{{one-line}} {block.argument}\n{options}\n\n{formulas}\n```\n\n"
                + notes(plain.plain(words)))  # fmt: skip
    return None


def notes(words: str) -> str:
    """Words for the speaker alone."""
    words = " ".join(words.split())
    return f"````{{revealjs-notes}}\n{words}\n````" if words else ""

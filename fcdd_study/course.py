"""Chapters as handouts: a student's notebook, whose solutions are cut out, and an instructor's, which holds everything.

What a cell is, its tag says (CONTRIBUTING.md, "exercise"): ``solution`` holds an answer with its gap marked, ``check``
tries it, and a raw cell ``wrong`` is an answer as it is typically wrong. Taught in: the page "Teaching with this book".
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from . import plain

CHAPTERS = "[0-9][0-9]_*.ipynb"  # 08b and its like are pages of results, which have no part in a course
KINDS = ("Predict", "Derive", "Fill in", "Debug", "Critique", "Project")
GAP = re.compile(r"( *)# your turn: (.+)")


class YourTurn(NotImplementedError):
    """Raised where the reader's work is still missing; its text says what is asked."""


@dataclass
class Exercise:
    """An exercise of a chapter: its words as MyST, and the sources of its cells, "" for those that it lacks."""

    label: str
    kind: str
    title: str
    text: str
    answer: str = ""
    given: list[str] = field(default_factory=list)  # run before the reader's own
    solution: str = ""
    check: str = ""
    wrong: str = ""


def tags(cell: dict) -> list[str]:
    """The tags of a notebook's cell."""
    return cell["metadata"].get("tags", [])


def source(cell: dict) -> str:
    """The text of a notebook's cell."""
    return "".join(cell["source"])


def stub(solution: str) -> str:
    """A solution with its gap open: from its comment ``# your turn: …`` to the end of that block.

    Comments right below it stay. Raises ValueError for more or fewer gaps than one.
    """
    lines = solution.splitlines()
    places = [place for place, line in enumerate(lines) if GAP.fullmatch(line)]
    if len(places) != 1:
        raise ValueError(f"expected one comment '# your turn: …' in a solution, got {len(places)}:\n{solution}")
    begin = places[0] + 1
    indent, asked = GAP.fullmatch(lines[begin - 1]).groups()
    while begin < len(lines) and lines[begin].startswith(f"{indent}# "):
        begin += 1
    rest = range(begin, len(lines))
    end = next((at for at in rest if lines[at].strip() and not lines[at].startswith(indent)), len(lines))
    gap = f"{indent}raise YourTurn({asked!r})"
    return "\n".join([*lines[:begin], gap, *([""] if end < len(lines) and not indent else []), *lines[end:]])


def before_the_story(notebook: dict) -> list[str]:
    """What a chapter's exercises may stand on besides themselves: its parameters, and the cell tagged ``setup``."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [source(cell) for cell in code if {"parameters", "setup"} & set(tags(cell))]


def exercises(notebook: dict) -> list[Exercise]:
    """The exercises of a chapter, in their order.

    Raises ValueError for one without a kind (the first word of its title, one of :data:`KINDS`), or without a solution.
    """
    found, at = [], None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for block in plain.blocks(source(cell)):
                if block.name == "exercise":
                    at = _begun(block)
                    found.append(at)
                elif block.name == "solution":
                    _answered(found, block)
            if re.search(r"^## (?!Exercises)", source(cell), re.MULTILINE):
                at = None
        elif at is not None:
            _put(at, cell)
    missing = [each.label for each in found if not each.answer.strip()]
    if missing:
        raise ValueError(f"exercises without a solution right below them: {', '.join(missing)}")
    return found


def _begun(block) -> Exercise:
    kind, colon, title = block.argument.partition(": ")
    if not colon or kind not in KINDS:
        raise ValueError(f"expected the title of an exercise to begin with one of {', '.join(KINDS)} and a colon, "
                         f"as in 'Predict: …'; got {block.argument!r}")  # fmt: skip
    return Exercise(block.options.get("label", ""), kind, title, block.content)


def _answered(found: list[Exercise], block) -> None:
    if not found or found[-1].label != block.argument or found[-1].answer:
        raise ValueError(f"the solution of {block.argument} stands below {found[-1].label if found else 'no exercise'}")
    found[-1].answer = block.content


def _put(exercise: Exercise, cell: dict) -> None:
    part = next((tag for tag in ("solution", "check", "wrong") if tag in tags(cell)), None)
    if part is None:
        exercise.given.append(source(cell))
    elif getattr(exercise, part):
        raise ValueError(f"{exercise.label} has two cells tagged {part}")
    else:
        setattr(exercise, part, source(cell))


# ---- the two notebooks ----


def setup_cell(address: str) -> dict:
    """The first cell of a handout: installs the package from ``address``, or without one says where that is told."""
    install = f'%pip install --quiet "fcdd-book[book] @ git+{address}"' if address else (
        'raise ModuleNotFoundError("fcdd_study is missing; START.md says how to install it")'
    )  # fmt: skip
    lines = ["# What this notebook needs, installed where it is missing.", "import importlib.util", ""]
    lines += ['if importlib.util.find_spec("fcdd_study") is None:', f"    {install}"]
    lines += ["from fcdd_study.course import YourTurn"]
    return {
        "cell_type": "code", "id": "course-setup", "metadata": {"tags": ["course-setup"]}, "outputs": [],
        "execution_count": None, "source": "\n".join(lines),
    }  # fmt: skip


def student(notebook: dict, address: str = "", told: Callable[[str, str], str | None] = plain.nothing) -> dict:
    """A chapter without its solutions: where one was, :class:`YourTurn` is raised until it is filled in.

    ``told`` gives the words of what stands elsewhere (:func:`fcdd_study.plain.plain`).
    """
    return _handout(notebook, address, told, solutions=False)


def instructor(notebook: dict, address: str = "", told: Callable[[str, str], str | None] = plain.nothing) -> dict:
    """A chapter with its solutions, and with a typical wrong answer to each, which is shown and not run."""
    return _handout(notebook, address, told, solutions=True)


def _handout(notebook, address, told, solutions: bool) -> dict:
    cells = [setup_cell(address)]
    for cell in copy.deepcopy(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            cell["source"] = plain.plain(source(cell), told, solutions)
        elif "wrong" in tags(cell) and solutions:
            text = f"**Typically wrong**; the check says so:\n\n```python\n{source(cell)}\n```"
            cell = {"cell_type": "markdown", "id": cell["id"], "metadata": {}, "source": text}
        elif "solution" in tags(cell) and not solutions:
            cell["source"] = stub(source(cell))
        if ("wrong" not in tags(cell) or solutions) and source(cell).strip():
            cells.append(cell)
    return notebook | {"cells": cells}

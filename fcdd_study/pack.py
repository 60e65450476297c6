"""The course as a folder and a zip: notebooks for students and instructors, slides, and what a lecturer plans with."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from . import chapters, course, plain, records, slides

NAME, STUDENTS = "fcdd-course", "fcdd-course-students"


def write(profile: str) -> Path:
    """Makes ``_build/course``: a folder and a zip with everything, and a zip without answers to hand out.

    Raises ChapterError where a chapter was not executed, or the wheel cannot be built.
    """
    root, place = records.ROOT, records.ROOT / "_build" / "course"
    shutil.rmtree(place, ignore_errors=True)
    folder = place / NAME
    for part in ("student", "instructor"):
        (folder / part).mkdir(parents=True)
    built = _wheel(root, folder)
    told, questions = words(root, profile)
    notebooks = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((root / "notebooks").glob(course.CHAPTERS))
    }
    address = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    for stem, notebook in notebooks.items():
        for part, made in (("student", course.student), ("instructor", course.instructor)):
            text = json.dumps(made(notebook, address, told), indent=1, ensure_ascii=False)
            (folder / part / f"{stem}.ipynb").write_text(text + "\n", encoding="utf-8")
    for name, text in documents(root, notebooks, questions, built.name).items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(root / "LICENSE", folder)
    _zip(folder, place / STUDENTS, ("student", "START.md", "LICENCE.md", "LICENSE", built.name))
    shutil.copytree(slides.render(profile).parent, folder / "slides")
    return Path(shutil.make_archive(str(place / NAME), "zip", place, NAME))


def _zip(folder: Path, name: Path, parts) -> None:
    beside = name.with_name(f".{name.name}") / name.name
    for part in parts:
        copied = shutil.copytree if (folder / part).is_dir() else shutil.copy
        (beside / part).parent.mkdir(parents=True, exist_ok=True)
        copied(folder / part, beside / part)
    shutil.make_archive(str(name), "zip", beside.parent, name.name)
    shutil.rmtree(beside.parent)


def _wheel(root: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(root)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise chapters.ChapterError(
            f"the package did not build; the course brings it along: {told.stderr.strip()[-500:]}"
        )
    (folder / ".gitignore").unlink(missing_ok=True)  # uv's
    return next(folder.glob("*.whl"))


def words(root: Path, profile: str) -> tuple[Callable[[str, str], str | None], dict[str, dict]]:
    """What handouts say of numbers, questions and listings (``told`` of :func:`fcdd_study.plain.plain`), and all
    questions of the book by their names, as in ``01_svdd/nu``."""
    sys.path.append(str(root / "book" / "_ext"))  # the pages' own roles; no part of the installed package
    import fcdd_numbers
    import fcdd_quiz

    table = fcdd_numbers.read([records.FRESH, records.COMMITTED])
    files = sorted((root / "book" / "quizzes").glob("*.yml"))
    questions = {f"{file.stem}/{name}": each for file in files for name, each in fcdd_quiz.read(file)[0].items()}

    def told(name, argument):
        name, _, solutions = name.partition(":")
        if name in ("run", "compare"):
            read = {"run": fcdd_numbers.number, "compare": fcdd_numbers.comparison}[name]
            try:
                return read(argument, table, profile)[0]
            except ValueError as error:
                raise chapters.ChapterError(f"{{{name}}}`{argument}`: {error}") from error
        if name == "quiz":
            return question(questions[argument], bool(solutions))
        if name == "literalinclude":
            file = (root / "notebooks" / argument).resolve()
            return f"```{file.suffix[1:]}\n{file.read_text(encoding='utf-8').strip()}\n```"
        return None

    return told, questions


def question(found: dict, solutions: bool) -> str:
    """A question of a quiz in plain Markdown, its feedback only with ``solutions``."""
    lines = [f"**{found['question'].strip()}**", ""]
    for letter, option in zip("ABCDEFGH", found["options"], strict=False):
        lines.append(f"- **{letter}** {option['text'].strip()}")
        if solutions:
            lines.append(f"  *{'Right' if option.get('right') else 'Not so'}.* {' '.join(option['feedback'].split())}")
    return "\n".join(lines)


# ---- what a lecturer plans with ----


def documents(root: Path, notebooks: dict[str, dict], questions: dict[str, dict], wheel: str) -> dict[str, str]:
    """Name → text of the pages beside the notebooks."""
    place = root / "book" / "course"
    first = next(stem for stem, notebook in notebooks.items() if _exercises(notebook))
    start = (place / "START.md").read_text(encoding="utf-8").replace("{wheel}", wheel).replace("{first}", first)
    return {
        "START.md": start,
        "LICENCE.md": (place / "LICENCE.md").read_text(encoding="utf-8"),
        "SYLLABUS.md": syllabus((root / "book" / "teaching.md").read_text(encoding="utf-8"), notebooks),
        "GRADING.md": grading(notebooks),
        "MISCONCEPTIONS.md": misconceptions(questions),
    }


def minutes(notebook: dict) -> tuple[int, int]:
    """Minutes to read a chapter and for its exercises, from its card; zeros for one that has none."""
    cards = [block for cell in notebook["cells"] if cell["cell_type"] == "markdown"
             for block in plain.blocks(course.source(cell)) if block.name == "goals"]  # fmt: skip
    if not cards:
        return 0, 0
    reading, doing = map(int, re.findall(r"\d+", cards[0].options["minutes"]))
    return reading, doing


def title(notebook: dict) -> str:
    """The heading of a chapter, without its number."""
    heading = course.source(notebook["cells"][0]).splitlines()[0].removeprefix("# ")
    return heading.partition(" · ")[2] or heading


def _exercises(notebook: dict) -> list[course.Exercise]:
    """The exercises of a chapter that has taken the course's form; none of another one."""
    return course.exercises(notebook) if minutes(notebook) != (0, 0) else []


def syllabus(teaching: str, notebooks: dict[str, dict]) -> str:
    """Four weeks with their minutes, and the lecture of one evening, from the page on teaching."""
    parts = {name: f"## {name}\n{re.search(rf'^## {name}$(.*?)(?=^## )', teaching, re.MULTILINE | re.DOTALL)[1]}"
             for name in ("What students need", "Four weeks", "One lecture, 90 minutes")}  # fmt: skip
    rows = ["| chapter | | minutes to read | for the exercises |", "| --- | --- | --- | --- |"]
    for stem, notebook in notebooks.items():
        rows.append(
            f"| {stem[:2]} | {title(notebook)} | " + " | ".join(str(part or "–") for part in minutes(notebook)) + " |"
        )
    weeks = re.findall(r"^\| (\d) \| ([^|]*) \|", parts["Four weeks"], re.MULTILINE)
    sums = ["| week | chapters | minutes |", "| --- | --- | --- |"]
    for week, lecture in weeks:
        of = [stem for stem in notebooks if stem[:2] in re.findall(r"\b\d\d\b", lecture)]
        total = sum(sum(minutes(notebooks[stem])) for stem in of)
        sums.append(f"| {week} | {', '.join(stem[:2] for stem in of)} | {total or '–'} |")
    text = ["# Syllabus", "START.md says how to begin, and what to type."]
    text += [parts["What students need"], parts["Four weeks"], "\n".join(sums)]
    text += ["## Minutes", "\n".join(rows), parts["One lecture, 90 minutes"]]
    return plain.plain("\n\n".join(text)) + "\n"


def grading(notebooks: dict[str, dict]) -> str:
    """For each exercise its answer, and how it typically goes wrong."""
    lines = ["# Grading", "", "A mark should depend on the argument, not on the AUROC. Give half of it for what can be "
             "checked, and half for the reason. A prediction is worth the same when it was wrong, if what "
             "follows from it is right.", ""]  # fmt: skip
    for stem, notebook in notebooks.items():
        for exercise in _exercises(notebook):
            lines += [f"## {stem[:2]}, {exercise.kind}: {exercise.title}", "", plain.plain(exercise.answer), ""]
            if exercise.wrong:
                reason = exercise.wrong.splitlines()[0].removeprefix("# ")
                lines += [f"*Typically wrong, and noticed by the check:* {reason}", ""]
    return "\n".join(lines)


def misconceptions(questions: dict[str, dict]) -> str:
    """What students believe, the question that brings it out, and what to say."""
    lines = ["# Misconceptions", ""]
    for name, each in questions.items():
        lines += [f"## {name.partition('_')[0]}: {each['misconception']}", "", plain.plain(question(each, True)), ""]
    return "\n".join(lines)

"""The course: exercises whose checks notice, handouts without answers, slides, the zip, and paper."""

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from fcdd_study import chapters, course, pack, plain, printed, slides

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob(course.CHAPTERS))


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


# Chapters that have not taken the course's form yet: no card, exercises without a kind. None is to be left.
OLD = {path.stem for path in CHAPTERS if "{goals}" not in path.read_text(encoding="utf-8")}
TAUGHT = [path for path in CHAPTERS if path.stem not in OLD]
WITH_CODE = [(path.stem, each.label) for path in TAUGHT for each in course.exercises(read(path)) if each.solution]


def cell(text, kind="markdown", *tags):
    made = {"cell_type": kind, "id": f"c{abs(hash(text)) % 10**6}", "metadata": {"tags": list(tags)}, "source": text}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


# ---- exercises ----


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_a_chapter_has_the_course_s_form(path):
    """A question before anything else, a card, take-aways, and exercises of several kinds that check themselves."""
    notebook = read(path)
    assert course.source(notebook["cells"][0]).rstrip().endswith("?**")
    assert min(pack.minutes(notebook)) > 0
    text = "\n".join(course.source(each) for each in notebook["cells"] if each["cell_type"] == "markdown")
    assert (
        text.count("{goals}") == 1 and text.count("\n## Take away\n") == 1 and text.count("\n## Further reading\n") == 1
    )
    assert "| strengths | weaknesses |" in text
    found = course.exercises(notebook)
    assert 4 <= len(found) <= 6
    assert len({each.kind for each in found}) >= 4
    assert len({each.label for each in found}) == len(found)
    for each in found:
        assert bool(each.solution) == bool(each.check) == bool(each.wrong), each.label
        assert each.solution or each.kind in ("Derive", "Critique", "Project"), each.label
        assert each.wrong == "" or each.wrong.startswith("# "), f"{each.label}: what is wrong with it?"


@pytest.fixture(scope="module")
def prepared():
    """What an exercise can stand on: the chapter's imports, and what is given with the exercises up to it."""

    def names(stem, label):
        notebook = read(ROOT / "notebooks" / f"{stem}.ipynb")
        found = {"YourTurn": course.YourTurn}
        parameters, *setup = course.before_the_story(notebook)
        exec("\n".join([parameters, 'profile, device = "smoke", "cpu"', *setup]), found)
        for each in course.exercises(notebook):
            exec("\n".join(each.given), found)
            if each.label == label:
                return found, each
            exec(each.solution, found)

    yield names
    plt.close("all")


@pytest.mark.parametrize("stem, label", WITH_CODE)
def test_a_solution_passes_its_check_and_neither_its_stub_nor_a_wrong_answer_does(prepared, stem, label):
    names, exercise = prepared(stem, label)
    with pytest.raises(course.YourTurn):
        exec(f"{course.stub(exercise.solution)}\n{exercise.check}", dict(names))
    with pytest.raises(AssertionError, match=r"\w"):
        exec(f"{exercise.wrong}\n{exercise.check}", dict(names))
    exec(f"{exercise.solution}\n{exercise.check}", dict(names))


def test_a_stub_keeps_what_is_around_the_gap():
    assert course.stub("a = 1\n# your turn: b?\n# a number\nb = 2") == (
        "a = 1\n# your turn: b?\n# a number\nraise YourTurn('b?')"
    )
    function = "def f(x):\n    y = x\n    # your turn: double it\n    y = 2 * y\n\n    return y\n\n\nz = f(1)"
    assert course.stub(function) == (
        "def f(x):\n    y = x\n    # your turn: double it\n    raise YourTurn('double it')\nz = f(1)"
    )
    with pytest.raises(ValueError, match="expected one comment '# your turn: …' in a solution, got 0"):
        course.stub("b = 2")


EXERCISE = "## Exercises\n\n```{exercise} Predict: the sign\n:label: ex-sign\nUp or down?\n```\n"
SOLUTION = "```{solution} ex-sign\n:class: dropdown\nUp.\n```"


@pytest.mark.parametrize("cells, told", [
    ([EXERCISE.replace("Predict: ", "")], "expected the title of an exercise to begin with one of Predict, Derive"),
    ([EXERCISE], "exercises without a solution right below them: ex-sign"),
    ([SOLUTION], "the solution of ex-sign stands below no exercise"),
    ([EXERCISE + SOLUTION.replace("ex-sign", "ex-other")], "the solution of ex-other stands below ex-sign"),
])  # fmt: skip
def test_an_exercise_that_lacks_something(cells, told):
    with pytest.raises(ValueError, match=told):
        course.exercises({"cells": [cell(text) for text in cells]})


def test_two_answers_to_one_exercise_are_refused():
    cells = [cell(EXERCISE + SOLUTION), cell("a", "code", "solution"), cell("b", "code", "solution")]
    with pytest.raises(ValueError, match="ex-sign has two cells tagged solution"):
        course.exercises({"cells": cells})


# ---- handouts ----


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_can_be_handed_out(path):
    """Without a directive or a role that only Sphinx knows, and without an answer."""
    notebook = read(path)
    student, instructor = course.student(notebook), course.instructor(notebook)
    for made in (student, instructor):
        text = "\n".join(course.source(each) for each in made["cells"] if each["cell_type"] == "markdown")
        assert not re.findall(r"^(?:```|:::)\{|\{[\w:]+\}`", text, re.MULTILINE)
        assert made["cells"][0]["id"] == "course-setup" and len({each["id"] for each in made["cells"]}) == len(
            made["cells"]
        )
        assert [each for each in made["cells"] if each["cell_type"] == "raw"] == []
    given = [line for each in student["cells"] for line in course.source(each).splitlines()]
    kept = [line for each in instructor["cells"] for line in course.source(each).splitlines()]
    assert not any("Solution" in line for line in given)
    for exercise in course.exercises(notebook) if path in TAUGHT else []:
        if exercise.solution:
            answer, check = exercise.solution.splitlines()[-1], exercise.check.splitlines()[-1]
            assert answer not in given and check in given, exercise.label
            assert {answer, check, exercise.wrong.splitlines()[0]} <= set(kept), exercise.label


def test_the_first_cell_installs_from_the_address_in_the_configuration():
    there = course.setup_cell("https://example.org/book")["source"]
    assert '    %pip install --quiet "fcdd-book[book] @ git+https://example.org/book"' in there
    nowhere = course.setup_cell("")["source"]
    assert "START.md" in nowhere
    exec(nowhere, found := {})
    assert issubclass(found["YourTurn"], NotImplementedError)


def test_papermill_s_parameters_are_known_behind_the_cell_that_installs():
    cells = ["", course.setup_cell("")["source"], 'profile = "quick"\nseed = 0\n', "# Parameters\nseed = 1\n"]
    chapters.refuse_unknown(cells)
    with pytest.raises(ValueError, match="unknown parameters sede; this chapter knows profile, seed"):
        chapters.refuse_unknown([*cells[:3], "# Parameters\nsede = 1\n"])


def test_plain_words():
    told = {"run": "0.9", "compare": "better", "quiz": "Q", "quiz:solutions": "Q and A"}
    text = plain.plain("See {cite}`tax2004svdd`, {doc}`05_fcdd`, {term}`center <centers>`: {run}`this/svdd`.",
                       lambda name, argument: told[name])  # fmt: skip
    assert text == "See (Tax 2004), chapter 05, center: 0.9."
    text = plain.plain("{cite:t}`ruff2021unifying`, {doc}`../book/your_images`, {doc}`words <../book/data>`")
    assert text == 'Ruff 2021, the book\'s page "your images", words'
    assert plain.plain("```{quiz} a/b\n```", lambda name, argument: told[name], True) == "Q and A"
    assert plain.plain("```{hint}\n:class: dropdown\nLook.\n```") == (
        "<details><summary>Hint</summary>\n\nLook.\n\n</details>"
    )
    assert plain.plain(SOLUTION) == "" and "Up." in plain.plain(SOLUTION, solutions=True)
    assert plain.plain(r"$$ \added{x} $$") == r"$$\def\added#1{\color{green}{#1}} \added{x} $$"
    assert plain.plain("[the library](library.md), [web](https://a.b)") == "the library, [web](https://a.b)"
    assert plain.plain("```python\nx = 1\n```") == "```python\nx = 1\n```"
    with pytest.raises(ValueError, match="no handout knows the directive {figure}"):
        plain.plain("```{figure} x.png\n```")
    with pytest.raises(ValueError, match="no handout knows the role {kbd}"):
        plain.plain("{kbd}`x`")


def test_lines_of_code_by_name():
    assert plain.code("fcdd.objectives.deep_svdd") == "return ((z - center) ** 2).sum(1)"
    assert plain.code("fcdd.objectives.fcdd").splitlines() == [
        "distance = pseudo_huber(outputs).flatten(1).mean(1)",
        "return torch.where(y < 0, repel(distance), distance)",
    ]
    assert plain.code("fcdd.objectives.fcdd last 1") == "return torch.where(y < 0, repel(distance), distance)"
    assert plain.code("x.mean(0)") == "x.mean(0)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What the wheel holds, unpacked: nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = pack._wheel(ROOT, folder)
    shutil.unpack_archive(built, folder / "site", "zip")
    return folder / "site"


# A minute a chapter.
@pytest.mark.slow
@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_a_student_s_notebook_runs_alone_up_to_its_first_gap(site, tmp_path, path):
    student = course.student(read(path))
    (tmp_path / path.name).write_text(json.dumps(student))
    command = [
        sys.executable,
        "-m",
        "papermill",
        path.name,
        "out.ipynb",
        "-p",
        "profile",
        "smoke",
        "-p",
        "device",
        "cpu",
    ]
    clean = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"PYTHONPATH": str(site)}
    told = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    asked = course.GAP.search("\n".join(course.source(each) for each in student["cells"]))[2]
    assert told.returncode == 1 and told.stderr.rstrip().splitlines()[-1] == f"YourTurn: {asked}", told.stderr[-2000:]
    ran = [each for each in read(tmp_path / "out.ipynb")["cells"] if each["cell_type"] == "code"]
    failed = next(place for place, each in enumerate(ran) if each["metadata"]["papermill"]["exception"])
    assert all(each["execution_count"] for each in ran[: failed + 1]) and failed > len(ran) // 2
    assert not any(each["execution_count"] for each in ran[failed + 1 :])


# ---- slides ----


def test_a_deck_of_a_chapter():
    """Its title and question, its goals, the line that changes, each figure with the words before it, what stays."""
    picture = cell("draw()", "code") | {"id": "c1", "outputs": [{"data": {"image/png": ""}}]}
    picture["metadata"]["mystnb"] = {"image": {"alt": "A circle."}}
    goals = "```{goals}\n:before: nothing\n:minutes: 1 to read, 2 to do\n\n- Go.\n```"
    line = "```{one-line} A → B\n:before: a\n:after: b\n\nWhy.\n\n$$ a $$\n\n$$ b $$\n```"
    cells = [cell("# Title\n\nWhat?"), cell(goals), cell(f"## Idea\n\n{line}\n\nLook at *this*:"), picture]
    cells += [cell("## Take away\n\n- One.\n\n| strengths | weaknesses |"), cell(EXERCISE + SOLUTION)]
    made = slides.deck({"cells": cells})
    assert re.findall(r"^#+ .+$", made, re.MULTILINE) == [
        "# Title", "## What you can do afterwards", "## The one line that changes", "## Idea", "## Take away",
    ]  # fmt: skip
    assert "![](c1)\n\n````{revealjs-notes}\nLook at *this*: A circle.\n" in made
    assert ":before: a\n:after: b" in made and "$$ b $$" in made and "ex-sign" not in made and "strengths" not in made


def test_what_a_cell_shows(tmp_path):
    pixel = cell("x", "code") | {"outputs": [{"data": {"image/png": "AAAA", "text/plain": "<Figure>"}}]}
    pixel["metadata"]["mystnb"] = {"image": {"alt": "A dot."}}
    assert slides.show(pixel, tmp_path / "figures" / "x.png", tmp_path) == "![A dot.](figures/x.png)"
    assert (tmp_path / "figures" / "x.png").read_bytes() == b"\0\0\0"
    said = cell("x", "code") | {"outputs": [{"text": ["a\n", "b\n"]}]}
    assert slides.show(said, tmp_path / "x.png", tmp_path) == "```text\na\nb\n```"
    with pytest.raises(chapters.ChapterError, match="shows nothing that a slide could show"):
        slides.show(cell("x", "code"), tmp_path / "x.png", tmp_path)
    styled = cell("x", "code") | {
        "outputs": [{"data": {"text/plain": "<pandas.io.formats.style.Styler object at 0x7f>"}}]
    }
    with pytest.raises(chapters.ChapterError, match="let it show a DataFrame"):
        slides.show(styled, tmp_path / "x.png", tmp_path)


@pytest.mark.parametrize(("columns", "fits"), [(7, True), (14, False)])
def test_a_table_whose_lines_pandas_breaks_is_no_slide(tmp_path, columns, fits):
    text = pd.DataFrame({f"column {k:02}": [k] for k in range(columns)}).to_string(line_width=100)
    wide = cell("x", "code") | {"outputs": [{"data": {"text/plain": text}}]}
    with nullcontext() if fits else pytest.raises(chapters.ChapterError, match="too wide for a slide"):
        assert slides.show(wide, tmp_path / "x.png", tmp_path) == f"```text\n{text}\n```"


@pytest.mark.parametrize("deck", sorted((ROOT / "book" / "slides").glob("*.md")), ids=lambda path: path.stem)
def test_a_written_deck_has_notes_on_every_slide_and_shows_cells_that_are_there(deck):
    text = deck.read_text(encoding="utf-8")
    parts = re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in parts if "{revealjs-notes}" not in part] == []
    ids = {each["id"] for each in read(ROOT / "notebooks" / f"{deck.stem}.ipynb")["cells"]}
    assert set(slides.SHOWN.findall(text)) <= ids


FITS = """() => {
  const told = [];
  for (const slide of Reveal.getSlides()) {
    const place = Reveal.getIndices(slide);
    Reveal.slide(place.h, place.v);
    const name = slide.querySelector('h1, h2').textContent;
    if (slide.scrollHeight > 720) told.push(name + ': ' + slide.scrollHeight + ' px high');
    if (slide.scrollWidth > 1280) told.push(name + ': ' + slide.scrollWidth + ' px wide');
    for (const image of slide.querySelectorAll('img'))
      if (!image.naturalWidth) told.push(name + ': a picture is not there');
    if (slide.querySelector('[data-mjx-error]')) told.push(name + ': a formula is wrong');
    if (!slide.querySelector('aside.notes') && !/Take away/.test(name)) told.push(name + ': no notes');
  }
  return told;
}"""


@pytest.fixture(scope="module")
def packed(book, checkout):
    """The course, made from the copy that the book was built from."""
    command = [sys.executable, "-m", "fcdd", "study", "course", "--profile", "smoke"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])}
    told = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return checkout / "_build" / "course"


@pytest.mark.slow
def test_slides_fit_and_need_no_network(packed, browser):
    decks = sorted((packed / pack.NAME / "slides").glob("[0-9]*.html"))
    assert [deck.stem for deck in decks] == [path.stem for path in CHAPTERS]
    for deck in decks:
        page, troubles = browser.new_context(offline=True, viewport={"width": 1280, "height": 720}).new_page(), []
        page.on("pageerror", lambda error, troubles=troubles: troubles.append(str(error)))
        page.on("requestfailed", lambda request, troubles=troubles: troubles.append(request.url))
        page.goto(deck.as_uri())
        page.evaluate("async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }")
        page.wait_for_function("() => Reveal.isReady()")
        assert troubles + page.evaluate(FITS) == [], deck.stem
        page.close()


# ---- the zip ----


@pytest.mark.slow
def test_the_zip_starts_as_it_says(packed, tmp_path):
    """Unpacked in an empty folder, its commands as printed. Packages other than ours are lent by this environment."""
    shutil.unpack_archive(packed / f"{pack.NAME}.zip", tmp_path)
    folder = tmp_path / pack.NAME
    blocks = re.findall(r"```sh\n(.*?)```", (folder / "START.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if "jupyterlab" not in line]
    assert [command.split()[0] for command in commands] == ["python3", *["course/bin/python"] * 2]
    clean = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "PYTHONPATH")}
    for command in commands:
        ours = command.replace("python3", sys.executable, 1) if command.startswith("python3") else command
        told = subprocess.run(ours, shell=True, cwd=folder, env=clean | {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"},
                              capture_output=True, text=True, check=False)  # fmt: skip
        if "papermill" in command:
            assert told.stderr.rstrip().splitlines()[-1].startswith("YourTurn: "), told.stderr[-2000:]
        else:
            assert told.returncode == 0, told.stderr
        for site in (folder / "course" / "lib").glob("python*/site-packages"):
            (site / "lent.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))


@pytest.mark.slow
def test_the_zip_for_students_holds_no_answer(packed, tmp_path):
    shutil.unpack_archive(packed / f"{pack.STUDENTS}.zip", tmp_path)
    names = {path.relative_to(tmp_path / pack.STUDENTS).parts[0] for path in (tmp_path / pack.STUDENTS).rglob("*")}
    assert {"student", "START.md", "LICENCE.md", "LICENSE"} <= names and not names & {"instructor", "GRADING.md"}


def test_plans_of_a_lecturer():
    notebooks = {path.stem: read(path) for path in CHAPTERS}
    _, questions = pack.words(ROOT, "smoke")
    found = pack.documents(ROOT, notebooks, questions, "fcdd_book-1.whl")
    assert found.keys() == {"START.md", "LICENCE.md", "SYLLABUS.md", "GRADING.md", "MISCONCEPTIONS.md"}
    assert not [name for name, text in found.items() if re.search(r"\{[\w:-]+\}`|```\{|\{wheel\}|\{first\}", text)]
    assert re.findall(r"^\| ([1-4]) \| \d\d", found["SYLLABUS.md"], re.MULTILINE) == list("1234") * 2
    reading, doing = pack.minutes(notebooks["01_svdd"])
    assert f"| 01 | SVDD: the smallest sphere | {reading} | {doing} |" in found["SYLLABUS.md"]
    for path in TAUGHT:
        for exercise in course.exercises(read(path)):
            assert exercise.title in found["GRADING.md"]
    assert all(each["misconception"] in found["MISCONCEPTIONS.md"] for each in questions.values())


# ---- how the pages show it ----


@pytest.fixture
def render(tmp_path, sphinx_in):
    """Renders a page with the course's directives; returns it, parsed, and the warnings."""
    (tmp_path / "source").mkdir()

    def rendered(text):
        (tmp_path / "source" / "index.md").write_text(f"# Title\n\n{text}\n")
        extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_exercise", "fcdd_course"]
        (html,), warnings = sphinx_in(tmp_path, ["index"], extensions=extensions, nb_execution_mode="off",
                                      myst_enable_extensions=["dollarmath"])  # fmt: skip
        return BeautifulSoup(html, "html.parser"), warnings

    return rendered


ONE_LINE = """```{one-line} HSC → FCDD
:before: fcdd.objectives.hypersphere
:after: fcdd.objectives.fcdd

Words.

$$ \\removed{a} $$

$$ \\added{b} $$
```"""


def test_the_one_line_is_marked_where_it_differs(render):
    page, warnings = render(ONE_LINE)
    assert "one-line" not in warnings
    before, after = page.select(".one-line .sides > div")
    assert [side.strong.get_text() for side in (before, after)] == ["HSC", "FCDD"]
    assert [side.pre.get_text() for side in (before, after)] == [
        plain.code("fcdd.objectives.hypersphere"), plain.code("fcdd.objectives.fcdd")
    ]  # fmt: skip
    assert not before.select("ins") and not after.select("del")
    assert "pseudo_huber" in after.ins.get_text() + after.pre.get_text()
    assert all("torch.where" not in mark.get_text() for mark in page.select("del, ins"))
    assert len(page.select(".one-line .math")) == 2


@pytest.mark.parametrize("text, told", [
    (ONE_LINE.replace("\\removed{a}", "").replace("$$  $$", ""), "two display equations"),
    (ONE_LINE.replace(":before: fcdd.objectives.hypersphere\n", ""), "expects 'A → B', the options before and after"),
    ("```{goals}\n:before: nothing\n\n- Go.\n```", "lacks minutes"),
])  # fmt: skip
def test_a_directive_that_lacks_something_is_said(render, text, told):
    assert told in render(text)[1]


def test_answers_are_in_the_solution_and_settings_folded(render, tmp_path):
    code = [cell(f"{tag} = 1", "code", tag) for tag in ("parameters", "setup", "given", "solution", "check")]
    cells = [cell("# Chapter"), *code[:2], cell(EXERCISE), code[2], cell(SOLUTION), *code[3:], cell("After.")]
    cells.insert(-1, cell("not this = 2") | {"cell_type": "raw", "metadata": {"tags": ["wrong"]}})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "source" / "chapter.ipynb").write_text(json.dumps(notebook))
    _, warnings = render("```{toctree}\nchapter\n```")
    assert "tagged solution or check" not in warnings
    page = BeautifulSoup((tmp_path / "out" / "chapter.html").read_text(), "html.parser")
    assert [each.get_text().strip() for each in page.select(".solution pre")] == ["solution = 1", "check = 1"]
    assert [each.get_text().strip() for each in page.select("details pre")] == ["parameters = 1", "setup = 1"]
    assert "given = 1" in page.get_text() and "not this" not in page.get_text()


# ---- paper ----

PAGE = """<html><head><title>Book</title><link rel="stylesheet" href="../_static/a b.css"/>
<script src="../_static/x.js"></script><script>window.MathJax = {}</script></head>
<body><article class="bd-article"><section id="top"><h1>One<a class="headerlink" href="#top">#</a></h1>
<p><a href="two.html#there">two</a> <a href="#top">up</a>
<a href="../genindex.html">index</a>
<a href="https://example.org">out</a></p><img src="../_images/a.png"/><div class="solution"><p>answer</p></div>
<fieldset class="quiz">
<details><p>feedback</p></details></fieldset>
<details><summary>more</summary><pre>code</pre></details></section></article></body></html>"""


def test_pages_become_one(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / f"{name}.html").write_text(PAGE)
    names = ["notebooks/one", "notebooks/two"]
    text = printed.one_page(tmp_path, names, solutions=False)
    page = BeautifulSoup(text, "html.parser")
    assert [each["id"] for each in page.select("article")] == ["notebooks-one", "notebooks-two"]
    assert [each.get("href") for each in page.article.select("a")] == [
        "#notebooks-two--there", "#notebooks-one--top", "https://example.org"
    ]  # fmt: skip
    assert page.article.img["src"] == (tmp_path / "_images" / "a.png").as_uri()
    assert "answer" not in text and "feedback" not in text and "code" in text and page.article.details.has_attr("open")
    assert [each["href"] for each in page.select("link")] == [(tmp_path / "_static" / "a b.css").as_uri()]
    assert "x.js" not in text and text.count("window.MathJax") == 1
    everything = printed.one_page(tmp_path, names, solutions=True)
    assert "answer" in everything and everything.count("<details open") == 4
    assert '<html lang="en" data-theme="light" data-mode="light" class="solutions">' in everything


def test_without_a_browser_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(printed.records, "ROOT", tmp_path)
    with pytest.raises(chapters.ChapterError, match="nothing to print: there is no .*html; run make book"):
        printed.pdf()
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").touch()
    monkeypatch.setattr(printed, "browser", lambda: None)
    with pytest.raises(
        chapters.ChapterError, match="expected a browser to print with, found none of chromium, .*; install"
    ):
        printed.pdf()


def squeezed(text) -> str:
    """Without white space and ligatures, which a font may have."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


@pytest.mark.slow
@pytest.mark.parametrize("solutions", [False, True])
def test_the_book_on_paper(book, checkout, solutions):
    """Every chapter is there, no frame of code is torn, and answers are there only when they are wanted."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed: paper is not looked at")
    if printed.browser() is None:
        pytest.skip(f"none of {', '.join(printed.BROWSERS)} is installed: paper is not looked at")
    command = [sys.executable, "-m", "fcdd", "study", "pdf", *["--solutions"] * solutions]
    told = subprocess.run(
        command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    file = checkout / "_build" / ("book-solutions.pdf" if solutions else "book.pdf")
    sheets = [squeezed(page.extract_text()) for page in pypdf.PdfReader(file).pages]
    whole = "".join(sheets)
    assert r"\lVert" not in whole and r"\nu" not in whole
    for path in CHAPTERS:
        assert squeezed(pack.title(read(path))) in whole
    for path in TAUGHT:
        for exercise in course.exercises(read(path)):
            assert squeezed(re.sub("[*`]", "", exercise.title)) in whole
            if exercise.solution:
                last = squeezed(exercise.solution.splitlines()[-1])
                assert (squeezed(exercise.solution) in whole or last in whole) or not solutions, exercise.label
                gap = squeezed(exercise.solution.partition("# your turn")[2].partition("\n")[2])
                assert (gap in whole) == solutions, exercise.label
    soup = BeautifulSoup(printed.one_page(book, printed.pages(checkout / "_toc.yml"), solutions), "html.parser")
    frames = [squeezed(frame.get_text()) for frame in soup.select(".cell_input pre")]
    assert [frame[:80] for frame in frames if not any(frame in sheet for sheet in sheets)] == []

"""The questions of the chapters: complete, asked where they belong, and rendered so that they work without scripts."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup

from fcdd import metrics
from fcdd_study import course

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("fcdd_quiz", ROOT / "book" / "_ext" / "fcdd_quiz.py")
fcdd_quiz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fcdd_quiz)

CHAPTERS = sorted((ROOT / "notebooks").glob(course.CHAPTERS), key=lambda path: path.stem)
GOOD = {
    "misconception": "What is low is good.",
    "question": "Is a *low* loss $L$ good?",
    "options": [
        {"text": "Yes, $L$ is low.", "feedback": "It may have collapsed.\n\nLook at the outputs."},
        {"text": "It depends.", "right": True, "feedback": "See {term}`loss`."},
        {"text": "No.", "feedback": "Not by that alone."},
    ],
}


def questions(chapter) -> dict:
    return fcdd_quiz.read(ROOT / "book" / "quizzes" / f"{chapter.stem}.yml")[0]


def markdown(chapter) -> list[str]:
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


# ---- what is asked ----


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_asks_two_or_more_good_questions(chapter):
    asked = questions(chapter)
    assert len(asked) >= 2
    assert {name: wrong for name, question in asked.items() if (wrong := fcdd_quiz.problems(question))} == {}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_shows_its_questions_just_before_its_exercises(chapter):
    cells = markdown(chapter)
    (place,) = [place for place, text in enumerate(cells) if text.startswith("## Check yourself\n")]
    assert re.findall(r"```\{quiz\} (\S+)\n```", cells[place]) == [
        f"{chapter.stem}/{name}" for name in questions(chapter)
    ]
    assert cells[place + 1].startswith("## Exercises\n")
    assert sum(text.count("{quiz}") for text in cells) == cells[place].count("{quiz}")


def test_there_are_enough_questions_and_each_has_its_own_misconception():
    assert len(CHAPTERS) == 10
    every = [question for chapter in CHAPTERS for question in questions(chapter).values()]
    assert len(every) >= 26
    assert len({question["misconception"] for question in every}) == len(every)


def test_right_answers_are_not_always_in_the_same_place():
    every = [question["options"] for chapter in CHAPTERS for question in questions(chapter).values()]
    first = [next(place for place, option in enumerate(options) if option.get("right")) for options in every]
    assert max(map(first.count, range(4))) <= 0.5 * len(first)


def test_numbers_of_the_question_on_small_defects():
    """One scratch of 10,000 pixels, ten pinholes of 100, a map that is perfect on the scratch and random elsewhere."""
    masks = np.zeros((11, 100, 200), bool)
    masks[0, :, :100] = True
    masks[1:, :10, :10] = True
    maps = np.random.default_rng(0).random(masks.shape)
    maps[0, :, :100] = 2
    told = questions(ROOT / "notebooks" / "06_localisation.ipynb")["small-defects"]["options"][0]["feedback"]
    said = [float(number) for number in re.findall(r"about (\.\d+)", told)]
    assert said == pytest.approx([metrics.pixel_auroc(masks, maps), metrics.aupro(masks, maps)], abs=0.02)


# ---- how it is shown ----


@pytest.fixture
def render(tmp_path, sphinx):
    """Renders a page that asks ``trial/low-loss`` of the given file; returns the page, parsed, and the warnings."""
    source = tmp_path / "source"
    source.mkdir()

    def rendered(text, name="trial/low-loss"):
        (source / "trial.yml").write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
        page = f"# Title\n\n```{{glossary}}\nloss\n  What is made small.\n```\n\n```{{quiz}} {name}\n```\n"
        (source / "index.md").write_text(page)
        (html,), warnings = sphinx(
            ["index"],
            extensions=["myst_parser", "sphinx.ext.mathjax", "fcdd_quiz"],
            myst_enable_extensions=["dollarmath"],
            fcdd_quizzes=str(source),
            html_static_path=[str(ROOT / "book" / "_static")],
            html_css_files=["book.css"],
            html_js_files=["quiz.js"],
        )
        return BeautifulSoup(html, "html.parser"), warnings

    return rendered


def test_question_is_a_group_of_labelled_radios_with_folded_feedback(render):
    page, warnings = render({"low-loss": GOOD})
    assert "quiz" not in warnings
    (group,) = page.select("fieldset.quiz")
    assert group["id"] == "quiz-trial-low-loss"
    assert group.find(True).name == "legend" and group.legend.get_text() == r"Is a low loss \(L\) good?"
    assert group.legend.select("em, .math")
    fields = group.select("input")
    assert [field["type"] for field in fields] == ["radio"] * 3
    assert {field["name"] for field in fields} == {"quiz-trial-low-loss"}
    assert [label["for"] for label in group.select("label")] == [field["id"] for field in fields]
    assert group.label.get_text() == r"A Yes, \(L\) is low." and group.label.select(".math")
    told = group.select(".option > details")
    assert [each.summary.get_text() for each in told] == ["Feedback on A", "Feedback on B", "Feedback on C"]
    assert not any(each.has_attr("open") for each in told)
    assert [each.p.get_text().split(".")[0] for each in told] == ["Not so", "Right", "Not so"]
    assert "Look at the outputs." in told[0].get_text()
    assert told[1].select("a[href='#term-loss']")
    assert not group.select("script") and not [each for each in group.select("*") if each.has_attr("hidden")]


def test_ids_are_used_once_and_stay_the_same(render):
    first, second = (render({"low-loss": GOOD})[0] for _ in range(2))
    ids = [each["id"] for each in first.select("fieldset [id]")]
    assert len(set(ids)) == len(ids) == 3 and ids == [each["id"] for each in second.select("fieldset [id]")]


def test_several_right_answers_are_ticked(render):
    options = [option | {"right": place > 0} for place, option in enumerate(GOOD["options"])]
    page, _ = render({"low-loss": GOOD | {"options": options}})
    assert [field["type"] for field in page.select("fieldset.quiz input")] == ["checkbox"] * 3
    assert "More than one is right." in page.legend.get_text()


SHOWN = """() => [...document.querySelectorAll('.quiz details > p:first-of-type')]
  .map((p) => p.checkVisibility({contentVisibilityAuto: true}) && p.getBoundingClientRect().height > 0)"""


@pytest.fixture
def open_page(render, browser, tmp_path):
    """Opens the rendered question from disk, with scripts or without."""
    render({"low-loss": GOOD})

    def opened(scripts):
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.goto((tmp_path / "out" / "index.html").as_uri())
        return page

    return opened


@pytest.mark.parametrize("scripts", [True, False])
def test_in_a_browser_by_keyboard(open_page, scripts):
    """A choice opens its feedback where scripts run; without them Enter does."""
    page = open_page(scripts)
    assert page.evaluate(SHOWN) == [False] * 3
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("B It depends.").is_checked()
    assert page.evaluate(SHOWN) == [False, scripts, False]
    page.get_by_text("Feedback on C").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(SHOWN) == [False, scripts, True]
    assert page.get_by_role("group").first.get_by_role("radio").count() == 3


def test_paper_gives_no_answer_away_unless_solutions_are_wanted(open_page):
    page = open_page(True)
    page.get_by_role("radio").nth(1).check()
    assert page.evaluate(SHOWN) == [False, True, False]
    page.emulate_media(media="print")
    assert page.evaluate(SHOWN) == [False] * 3 and not page.get_by_text("Right.").is_visible()
    page.evaluate("document.documentElement.classList.add('solutions')")
    assert page.evaluate(SHOWN) == [True] * 3


def changed(place, **fields):
    return GOOD | {"options": [option | fields if i == place else option for i, option in enumerate(GOOD["options"])]}


@pytest.mark.parametrize(
    "question, told",
    [
        (changed(1, right=False), "no option is right"),
        (changed(0, feedback=" "), "option 1: no feedback"),
        (changed(2, feedbak="No."), "option 3: unknown field feedbak"),
        (changed(2, right="yes"), "option 3: right is true or false, not 'yes'"),
        (GOOD | {"hint": "Look."}, "found misconception, question, options, hint"),
        ({key: GOOD[key] for key in ("question", "options")}, "expected the fields misconception"),
        (GOOD | {"options": GOOD["options"][:2]}, "2 option(s)"),
        (GOOD | {"options": "Yes"}, "expected a list of options"),
        (["Is it?"], "found list"),
    ],
)
def test_what_is_wrong_with_a_question(question, told):
    assert told in "; ".join(fcdd_quiz.problems(question))


def test_a_wrong_question_is_a_warning_with_file_and_line(render, tmp_path):
    page, warnings = render({"other": GOOD, "low-loss": changed(1, right=False)})
    line = 1 + (tmp_path / "source" / "trial.yml").read_text().splitlines().index("low-loss:")
    assert line > 1 and f"trial.yml:{line}: WARNING: {{quiz}} trial/low-loss: no option is right" in warnings
    assert not page.select("fieldset")


@pytest.mark.parametrize(
    "text, name, told",
    [
        ({"low-loss": GOOD}, "trial/high-loss", "has no question 'high-loss'; it has low-loss"),
        ({"low-loss": GOOD}, "nowhere/low-loss", "nowhere.yml"),
        ("low-loss: [", "trial/low-loss", "line 1"),
        ("- low-loss", "trial/low-loss", "expected questions by their names"),
        ("low-loss: 1\nlow-loss: 2", "trial/low-loss", "two questions are called low-loss"),
    ],
)
def test_a_question_that_cannot_be_read_is_a_warning_at_the_directive(render, text, name, told):
    page, warnings = render(text, name)
    assert re.search(r"index\.md:\d+: WARNING: \{quiz\} " + name, warnings) and told in warnings
    assert not page.select("fieldset")

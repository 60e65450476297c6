"""A directive for questions that the reader answers: {quiz} 02_deep_svdd/low-loss.

The question ``low-loss`` stands in book/quizzes/02_deep_svdd.yml:

    low-loss:
      misconception: What a student may believe. For the lecturer; not shown.
      question: One paragraph of MyST.
      options:  # three or more, in the order in which they are shown
        - {text: One paragraph., right: true, feedback: What to say to whoever takes it.}

Where several are right, one ticks boxes instead of choosing one. Feedback is folded below each option and opens without
scripts. A question that lacks something is a warning, which stops a build with ``-W``.
"""

from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

FIELDS = {"misconception", "question", "options"}
OPTION = {"text", "right", "feedback"}
logger = logging.getLogger(__name__)


def read(path: Path) -> tuple[dict, dict]:
    """The questions of a file by name, and the line that each begins at. Raises ValueError where it is no such file."""
    text = path.read_text(encoding="utf-8")
    try:
        questions, root = yaml.safe_load(text), yaml.compose(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(questions, dict):
        raise ValueError("expected questions by their names")
    names = [key.value for key, _ in root.value]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two questions are called {', '.join(twice)}")
    return questions, {key.value: key.start_mark.line + 1 for key, _ in root.value}


def problems(question) -> list[str]:
    """What is wrong with a question; nothing if it can be shown."""
    if not isinstance(question, dict) or set(question) != FIELDS:
        found = ", ".join(map(str, question)) if isinstance(question, dict) else type(question).__name__
        return [f"expected the fields {', '.join(sorted(FIELDS))}; found {found}"]
    options = question["options"]
    if not isinstance(options, list) or not all(isinstance(option, dict) for option in options):
        return ["options: expected a list of options, each with text, right and feedback"]
    wrong = [f"{field}: expected a text" for field in ("misconception", "question") if not _text(question[field])]
    for number, option in enumerate(options, 1):
        if unknown := set(option) - OPTION:
            wrong.append(f"option {number}: unknown field {', '.join(map(str, unknown))}")
        wrong += [f"option {number}: no {field}" for field in ("text", "feedback") if not _text(option.get(field))]
        if not isinstance(option.get("right", False), bool):
            wrong.append(f"option {number}: right is true or false, not {option['right']!r}")
    if len(options) < 3:
        wrong.append(f"{len(options)} option(s); a question has three or more")
    if not any(option.get("right") is True for option in options):
        wrong.append("no option is right")
    return wrong


def _text(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


class tag(nodes.General, nodes.Element):
    """An HTML element ``name`` with ``attributes``."""


def element(name, /, *children, id=None, classes=(), **attributes) -> tag:
    return tag("", *children, name=name, ids=[id] if id else [], classes=list(classes), attributes=attributes)


class Quiz(SphinxDirective):
    """One question, its options, and feedback on each."""

    required_arguments = 1

    def run(self):
        file, _, name = self.arguments[0].partition("/")
        path = Path(self.config.fcdd_quizzes) / f"{file}.yml"
        self.env.note_dependency(str(path))
        try:
            questions, lines = read(path)
        except (FileNotFoundError, ValueError) as error:
            return self.warn(f"{path}: {error}", self.get_location())
        if name not in questions:
            known = ", ".join(map(str, questions))
            return self.warn(f"{path} has no question {name!r}; it has {known}", self.get_location())
        if wrong := problems(questions[name]):
            return self.warn("; ".join(wrong), f"{path}:{lines[name]}")
        return [self.shown(nodes.make_id(f"quiz-{file}-{name}"), questions[name])]

    def warn(self, message, location):
        logger.warning("{quiz} %s: %s", self.arguments[0], message, location=location, type="fcdd", subtype="quiz")
        return []

    def shown(self, id, question):
        several = sum(option.get("right", False) for option in question["options"]) > 1
        legend = element("legend", *self.inline(question["question"]))
        if several:
            legend += element("small", nodes.Text("More than one is right."))
        kind = "checkbox" if several else "radio"
        options = [self.option(id, kind, *each) for each in zip("ABCDEFGH", question["options"], strict=False)]
        return element("fieldset", legend, *options, classes=["quiz"], id=id)

    def option(self, id, kind, letter, option):
        own = f"{id}-{letter.lower()}"
        field = element("input", type=kind, name=id, id=own)
        label = element(
            "label", nodes.strong("", letter), nodes.Text(" "), *self.inline(option["text"]), **{"for": own}
        )
        verdict = "Right." if option.get("right") else "Not so."
        told = self.parse_text_to_nodes(option["feedback"])
        told[0][:0] = [nodes.strong("", verdict), nodes.Text(" ")]
        summary = element("summary", nodes.Text(f"Feedback on {letter}"))
        feedback = element("details", summary, *told, classes=["right" if option.get("right") else "wrong"])
        return element("div", field, label, feedback, classes=["option"])

    def inline(self, text):
        children, messages = self.parse_inline(text.strip())
        return [*children, *messages]


def visit(self, node):
    self.body.append(self.starttag(node, node["name"], "", **node["attributes"]))


def depart(self, node):
    if node["name"] != "input":
        self.body.append(f"</{node['name']}>")


def through(self, node):
    """Other formats show what is inside."""


def setup(app):
    app.add_node(tag, html=(visit, depart), latex=(through, through), text=(through, through))
    app.add_config_value("fcdd_quizzes", str(Path(__file__).parents[1] / "quizzes"), "env")
    app.add_directive("quiz", Quiz)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

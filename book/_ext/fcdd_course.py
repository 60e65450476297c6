"""What a chapter teaches with: {goals} at its beginning, {one-line} for the line that changes, answers in one place.

    ```{goals}                          ```{one-line} HSC → FCDD
    :before: {doc}`00_anomalies`        :before: fcdd.objectives.hypersphere
    :minutes: 45 to read, 60 to do      :after: fcdd.objectives.fcdd

    - Say what ν promises.              Words, and two display equations: what it was, what it is.
    ```                                 ```

``before`` and ``after`` of {one-line} are code, or the name of a function whose lines are shown. What differs is marked
as deleted and inserted; in the equations with ``\\removed{…}`` and ``\\added{…}``. Cells tagged ``solution`` or
``check`` move into the {solution} above them; those tagged ``parameters`` or ``setup`` are folded.
"""

import difflib
import re

from docutils import nodes
from docutils.parsers.rst import directives
from fcdd_quiz import element
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import solution_node

from fcdd_study import plain

ANSWERS = {"tag_solution", "tag_check"}
FOLDED = {
    "tag_parameters": "Parameters of this page",
    "tag_injected-parameters": "Parameters of this page",
    "tag_setup": "What it imports",
}
TOKEN = re.compile(r"\s+|\w+|.", re.DOTALL)
logger = logging.getLogger(__name__)


class Course(SphinxDirective):
    """What both directives share."""

    has_content = True

    def inline(self, text):
        children, messages = self.parse_inline(text)
        return [*children, *messages]


class Goals(Course):
    """A card: what one can do afterwards, what to know before, and how long it takes."""

    option_spec = {"before": directives.unchanged_required, "minutes": directives.unchanged_required}

    def run(self):
        if missing := sorted(self.option_spec.keys() - self.options.keys()):
            raise self.error(f"{{goals}} expects the options before and minutes; lacks {', '.join(missing)}")
        facts = [
            nodes.paragraph("", "", nodes.strong("", f"{name}: "), *self.inline(self.options[key]))
            for name, key in (("Know before", "before"), ("Minutes", "minutes"))
        ]
        title = nodes.title("", "What you can do afterwards")
        return [nodes.admonition("", title, *self.parse_content_to_nodes(), *facts, classes=["goals"])]


class OneLine(Course):
    """Equation and code, before and after, with what differs marked."""

    required_arguments, final_argument_whitespace = 1, True
    option_spec = {"before": directives.unchanged_required, "after": directives.unchanged_required}

    def run(self):
        parsed = self.parse_content_to_nodes()
        equations = [each for each in parsed if isinstance(each, nodes.math_block)]
        names = [name.strip() for name in self.arguments[0].split("→")]
        if len(equations) != 2 or len(names) != 2 or self.options.keys() != self.option_spec.keys():
            raise self.error("{one-line} expects 'A → B', the options before and after, and two display equations")
        old, new = (plain.code(self.options[key]) for key in ("before", "after"))
        marked = difference(old, new)
        sides = [
            element("div", element("p", nodes.strong("", name)), equation, element("pre", *code), classes=[side])
            for side, name, equation, code in zip(("before", "after"), names, equations, marked, strict=True)
        ]
        words = [each for each in parsed if each not in equations]
        title = nodes.title("", "The one line that changes")
        return [nodes.admonition("", title, *words, element("div", *sides, classes=["sides"]), classes=["one-line"])]


def difference(old: str, new: str) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Both texts as nodes, with what only the first has in ``<del>`` and what only the second has in ``<ins>``.

    Texts that have little in common are marked as a whole: what they share by chance says nothing.
    """
    first, second = TOKEN.findall(old), TOKEN.findall(new)
    before, after = [], []
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    whole = [("replace", 0, len(first), 0, len(second))]
    for kind, a, b, c, d in matcher.get_opcodes() if matcher.ratio() > 0.6 else whole:
        for side, name, text in ((before, "del", "".join(first[a:b])), (after, "ins", "".join(second[c:d]))):
            if text:
                side.append(nodes.Text(text) if kind == "equal" else element(name, nodes.Text(text)))
    return before, after


def _is_cell(node, wanted) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code" and wanted & set(node["classes"])


def gather(app, doctree):
    """Cells with an answer move into the solution above them, settings and imports are folded."""
    for solution in list(doctree.findall(solution_node)):
        place = solution.parent.index(solution) + 1
        while place < len(solution.parent) and _is_cell(solution.parent[place], ANSWERS):
            solution += solution.parent.pop(place)
    for cell in doctree.findall(lambda node: _is_cell(node, ANSWERS)):
        if not isinstance(cell.parent, solution_node):
            logger.warning("a cell tagged solution or check stands below no {solution}", location=cell, type="fcdd")
    for cell in doctree.findall(lambda node: _is_cell(node, FOLDED.keys())):
        prompt = next(words for tag, words in FOLDED.items() if tag in cell["classes"])
        cell["hide_mode"], cell["prompt_show"], cell["prompt_hide"] = "input", prompt, prompt


def setup(app):
    app.setup_extension("fcdd_quiz")  # for its node
    app.add_directive("goals", Goals)
    app.add_directive("one-line", OneLine)
    app.connect("doctree-read", gather)
    app.add_css_file("course.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

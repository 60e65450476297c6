"""The book's Markdown as Jupyter and Colab show it: what only Sphinx knows, directives and roles, become words."""

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\}[ ]*(?P<argument>.*)\n(?P<body>(?:.*\n)*?)(?P=fence)[ ]*$",
    re.MULTILINE,
)
OPTION = re.compile(r"^:([\w-]+):[ ]*(.*)\n?")
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
# As the book's configuration has them for its pages; here each formula brings those that it uses.
MACROS = {r"\added": r"\def\added#1{\color{green}{#1}}", r"\removed": r"\def\removed#1{\color{red}{#1}}"}


class Block(NamedTuple):
    """A directive: its name, what stands behind that, its options, and what it holds."""

    name: str
    argument: str
    options: dict[str, str]
    content: str


def block(match: re.Match) -> Block:
    """What a match of FENCE is."""
    options, body = {}, match["body"]
    while option := OPTION.match(body):
        options[option[1]] = option[2].strip()
        body = body[option.end() :]
    return Block(match["name"], match["argument"].strip(), options, body.strip("\n"))


def blocks(text: str) -> list[Block]:
    """The directives of a text, those inside of others left out."""
    return [block(match) for match in FENCE.finditer(text + "\n")]


def code(text: str) -> str:
    """Lines of code: as they are typed, or of the function that is named, as in ``fcdd.objectives.fcdd``.

    Without its signature and docstring; ``fcdd.SVDD.fit last 2`` are its last two lines.
    """
    name = re.fullmatch(r"(fcdd[\w.]+)(?: last (\d+))?", text)
    if name is None:
        return text
    lines = textwrap.dedent(inspect.getsource(pkgutil.resolve_name(name[1]))).splitlines()
    body = ast.parse("\n".join(lines)).body[0].body
    first = body[1 if isinstance(body[0], ast.Expr) else 0]
    kept = lines[first.lineno - 1 :][-int(name[2] or 0) :]
    return textwrap.dedent("\n".join(kept))


def nothing(name: str, argument: str) -> str | None:
    """Knows no words of elsewhere: the default of :func:`plain`."""
    return None


def plain(text: str, told: Callable[[str, str], str | None] = nothing, solutions: bool = False) -> str:
    """MyST as plain Markdown with formulas; ``solutions``: whether answers stay.

    ``told`` is asked for what stands elsewhere, with the name of a role or directive and its argument: a number of a
    record ("run"), a question ("quiz"), a listing ("literalinclude"), a "comparison". Where it answers None, the words
    say that it is in the book. Raises ValueError for a directive or a role that has no words here.
    """

    def directive(match):
        found = block(match)
        if found.name not in DIRECTIVES:
            raise ValueError(f"no handout knows the directive {{{found.name}}}; add it to fcdd_study/plain.py")
        return DIRECTIVES[found.name](found, told, solutions)

    text = FENCE.sub(directive, text + "\n")
    text = ROLE.sub(lambda match: _role(match[1], match[2], told), text)
    text = re.sub(r"\$\$.*?\$\$", _with_macros, text, flags=re.DOTALL)
    text = re.sub(r"(?<!!)\[([^\]\n]+)\]\((?!https?:)[^)\n]*\)", r"\1", text)  # pages of the book are not beside it
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _with_macros(formula: re.Match) -> str:
    used = "".join(definition for name, definition in MACROS.items() if name in formula[0])
    return f"$${used}{formula[0][2:]}"


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>\n"


def _exercise(found: Block, told, solutions) -> str:
    return f"### Exercise. {found.argument}\n\n{found.content}\n"


def _solution(found: Block, told, solutions) -> str:
    return _folded("Solution", found.content) if solutions else ""


def _goals(found: Block, told, solutions) -> str:
    facts = [f"**{name.capitalize()}:** {value}." for name, value in found.options.items()]
    return "\n\n".join(["**What you can do afterwards**", found.content, *facts]) + "\n"


def _one_line(found: Block, told, solutions) -> str:
    lines = [f"```python\n# {name}\n{code(found.options[name])}\n```" for name in ("before", "after")]
    return "\n\n".join([f"**The one line that changes: {found.argument}**", found.content, *lines]) + "\n"


def _elsewhere(found: Block, told, solutions) -> str:
    words = told(found.name + (":solutions" if solutions else ""), found.argument)
    default = {
        "demo": f"*A figure that moves, in the book:* {found.content}",
        "quiz": "*A question, in the book.*",
        "literalinclude": f"*Listing:* `{found.argument.removeprefix('../')}`",
    }
    return (words or default[found.name]) + "\n"


def _admonition(found: Block, told, solutions) -> str:
    title = found.argument if found.name == "admonition" else found.name.capitalize()
    return textwrap.indent(f"**{title}.** {found.content}", "> ", lambda line: True) + "\n"


DIRECTIVES: dict[str, Callable[[Block, Callable, bool], str]] = {
    "exercise": _exercise,
    "solution": _solution,
    "hint": lambda found, told, solutions: _folded("Hint", found.content),
    "goals": _goals,
    "one-line": _one_line,
    **dict.fromkeys(("demo", "quiz", "literalinclude"), _elsewhere),
    **dict.fromkeys(("admonition", "note", "tip", "important", "warning", "seealso"), _admonition),
}


def _role(name: str, argument: str, told) -> str:
    text, angle, target = argument.partition("<")
    shown = text.strip() if angle else argument
    if name.startswith("cite"):
        keys = [re.fullmatch(r"([a-z]+)(\d{4})\w*", key.strip()) for key in argument.split(",")]
        names = "; ".join(f"{key[1].capitalize()} {key[2]}" if key else argument for key in keys)
        return names if name == "cite:t" else f"({names})"
    if name == "doc":
        page, number = Path(argument).name.replace("_", " "), re.search(r"\d\d", argument)
        return shown if angle else f"chapter {number[0]}" if number else f'the book\'s page "{page}"'
    if name in ("run", "compare"):
        return told(name, argument) or "(in the book)"
    if name in ("term", "ref", "numref", "eq", "prf:ref"):
        return shown
    if name in ("mod", "func", "class", "meth"):
        return f"`{shown.lstrip('~')}`"
    raise ValueError(f"no handout knows the role {{{name}}}; add it to fcdd_study/plain.py")

"""Docstrings as the book shows them: they are written to be read in a terminal, and Sphinx reads them as markup.

A name with a trailing underscore, ``center_``, would be a link, and a norm, ``|x|``, a substitution. The docstrings of
SVDD set their formulas in plain text, so they stay as they are typed.
"""

import re

NAME = re.compile(r"(?<![\w`.:])([A-Za-z]\w*_)(?![\w`])")
VERBATIM = ("fcdd.svdd.",)


def escape(line: str) -> str:
    """``name_`` as code and ``|`` as itself."""
    return NAME.sub(r"``\1``", line.replace("|", r"\|"))


def process(app, what, name, obj, options, lines):
    """Changes the lines of a docstring in place, as autodoc-process-docstring asks for."""
    if name.startswith(VERBATIM) and len(lines) > 2:
        lines[:] = [escape(lines[0]), "", "::", "", *("    " + line for line in lines[1:]), ""]
    elif not any("math::" in line for line in lines):
        lines[:] = [escape(line) for line in lines]
    else:
        lines[:] = [NAME.sub(r"``\1``", line) if ":math:" not in line and "\\" not in line else line for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", process)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

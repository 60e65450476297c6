"""Docstrings are written to be read in a terminal; this makes them markup that Sphinx reads without complaint.

A fitted attribute, ``center_``, would be taken for a link. SVDD's docstrings set all their formulas in plain text and
are shown as they are typed.
"""

import re

ATTRIBUTE = re.compile(r"(?<![\w`.:\\])([A-Za-z]\w*_)(?![\w`])")
AS_TYPED = "fcdd.svdd."


def process(app, what, name, obj, options, lines):
    """Changes the lines of a docstring in place, as autodoc-process-docstring asks for."""
    if not name.startswith(AS_TYPED):
        lines[:] = [line if "\\" in line else ATTRIBUTE.sub(r"``\1``", line) for line in lines]
        return
    first, *rest = lines
    block = [".. code-block:: text", "   :class: docstring", "", *("   " + line for line in rest)]
    lines[:] = [ATTRIBUTE.sub(r"``\1``", first.replace("|", r"\|")), "", *(block if any(rest) else [])]


def setup(app):
    app.connect("autodoc-process-docstring", process)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""A directive that shows the recorded benchmarks of a device: {benchmarks} cpu.

A sentence on the machine, a picture, and two tables, all drawn from benchmarks/records/<device>.json when the book is
built. Without a record it says how to make one.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from fcdd.study import records

sys.path.append(str(records.ROOT))  # the folder is no part of the installed library

from benchmarks import report


def table(headings, rows) -> list[str]:
    """A table in Markdown."""
    cells = [headings, ["---"] * len(headings), *rows]
    return ["", *("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells), ""]


def draw(result: dict, path: Path) -> None:
    """Writes the picture, the same bytes for the same record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "fcdd"}):
        figure = report.figure(result)
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


class Benchmarks(SphinxDirective):
    """The recorded benchmarks of one device."""

    required_arguments = 1

    def run(self):
        self.env.note_reread()  # records change while the page stays the same
        device, folder = self.arguments[0], self.config.fcdd_benchmarks
        try:
            result = report.read(device, Path(folder) if folder else report.RECORDS)
        except FileNotFoundError as error:
            return [nodes.note("", nodes.paragraph("", f"{error}."))]
        name = f"benchmarks-{device}.svg"
        draw(result, Path(self.env.srcdir) / name)
        text = [report.machine(result) + ".", *table(report.HEADINGS, report.rows(result))]
        parsed = nodes.container()
        for lines in (text, table(report.FACTS, report.facts(result))):
            self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, parsed)
        picture = nodes.image(uri=f"/{name}", alt=report.description(result))
        return [parsed.children[0], nodes.figure("", picture), *parsed.children[1:]]


def setup(app):
    app.add_config_value("fcdd_benchmarks", None, "env")
    app.add_directive("benchmarks", Benchmarks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

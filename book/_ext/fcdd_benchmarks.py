"""Directives that show recorded benchmarks: {benchmarks} cpu, {benchmark-parts} cpu, and those in ``TABLES``.

A sentence on the machine, a picture, and two tables; and a picture of where the time goes. All are drawn from
benchmarks/records/<device>.json when the book is built. Without a record the first says how to make one.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from fcdd_study import records

sys.path.append(str(records.ROOT))  # the folder is no part of the installed library

from benchmarks import arithmetic, command, constructors, defects, false_alarms, how_many, report, tour

TABLES = {
    "false-alarms": false_alarms,
    "arithmetic": arithmetic,
    "how-many": how_many,
    "masks-gain": how_many.with_masks,
    "defects": defects,
    "constructors": constructors,
    "command": command,
}


def table(headings, rows) -> list[str]:
    """A table in Markdown."""
    cells = [headings, ["---"] * len(headings), *rows]
    return ["", *("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells), ""]


def draw(figure, result: dict, path: Path) -> None:
    """Writes a picture of the report, the same bytes for the same record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "fcdd"}):
        figure = figure(result)
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


class Shown(SphinxDirective):
    """What both directives share: the record of the device that is named."""

    required_arguments = 1

    def run(self):
        self.env.note_reread()  # records change while the page stays the same
        folder = self.config.fcdd_benchmarks
        try:
            result = report.read(self.arguments[0], Path(folder) if folder else report.RECORDS)
        except FileNotFoundError as error:
            return self.missing(error)
        return self.shown(result)

    def picture(self, figure, words: str, result: dict) -> nodes.Node:
        name = f"{self.name}-{self.arguments[0]}.svg"
        draw(figure, result, Path(self.env.srcdir) / name)
        return nodes.figure("", nodes.image(uri=f"/{name}", alt=words))


class Benchmarks(Shown):
    """The recorded benchmarks of one device."""

    def missing(self, error):
        return [nodes.note("", nodes.paragraph("", f"{error}."))]

    def shown(self, result):
        text = [report.machine(result) + ".", *table(report.HEADINGS, report.rows(result))]
        parsed = nodes.container()
        for lines in (text, table(report.FACTS, report.facts(result))):
            self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, parsed)
        picture = self.picture(report.figure, report.description(result), result)
        return [parsed.children[0], picture, *parsed.children[1:]]


class Parts(Shown):
    """Where the time of an epoch goes; nothing without a record, or without a profile in it."""

    def missing(self, error):
        return []

    def shown(self, result):
        if not report.parts(result):  # an older record
            return []
        return [self.picture(report.parts_figure, report.parts_description(result), result)]


def not_recorded(command: str) -> list[nodes.Node]:
    """The command that makes what is missing, as code: in text, two hyphens would become a dash."""
    return [nodes.note("", nodes.paragraph("", "Not recorded; ", nodes.literal("", command)))]


class Recorded(SphinxDirective):
    """The recorded table of one measurement; its module brings the words and the rows."""

    def run(self):
        self.env.note_reread()
        module, folder = TABLES[self.name], self.config.fcdd_benchmarks
        path = Path(folder) / module.RECORD.name if folder else module.RECORD
        if not path.exists():
            return not_recorded(f"python -m {module.__name__} --record")
        result = json.loads(path.read_text(encoding="utf-8"))
        parsed = nodes.container()
        lines = [module.words(result), *table(module.headings(result), module.rows(result))]
        self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, parsed)
        return parsed.children


class TourStep(SphinxDirective):
    """A command of the page on one's own images, and what it said when the tour was recorded."""

    required_arguments = 1

    def run(self):
        self.env.note_reread()
        if not tour.RECORD.exists():
            command, said = tour.STEPS[self.arguments[0]], "(not recorded; python -m benchmarks.tour --record)"
        else:
            step = json.loads(tour.RECORD.read_text(encoding="utf-8"))["steps"][self.arguments[0]]
            command, said = f"{step['command']}   # {step['seconds']:.0f} s", tour.shortened(step)
        text = f"$ {command}\n{said}"
        return [nodes.literal_block(text, text, language="console")]


class TourPicture(SphinxDirective):
    """A picture that the tour took; its caption is the content, ``alt`` describes it."""

    required_arguments, has_content = 1, True
    option_spec = {"alt": str}

    def run(self):
        file = tour.PICTURES / f"{self.arguments[0]}.png"
        if not file.exists():
            return not_recorded("python -m benchmarks.tour --record")
        image = nodes.image(uri=f"_static/your_images/{file.name}", alt=self.options["alt"])
        return [nodes.figure("", image, nodes.caption("", " ".join(self.content)))]


def setup(app):
    for name in TABLES:
        app.add_directive(name, Recorded)
    app.add_directive("tour-step", TourStep)
    app.add_directive("tour-picture", TourPicture)
    app.add_config_value("fcdd_benchmarks", None, "env")
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("benchmark-parts", Parts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

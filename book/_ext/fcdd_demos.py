"""A directive for figures that move: {demo} svdd, with what the still shows as ``:alt:`` and the caption as its text.

It writes the still picture, for readers without scripts and for paper, and an empty element, which book/demos/loader.js
fills once it is scrolled to. What moves is book/demos/svdd.js; the still and the numbers that the figure begins with
are svdd.png and svdd.data.js in ``_build/demos/<profile>``, where ``fcdd study demos`` puts them (the graph calls it).
Without them the page says so, and a warning stops a build with ``-W``.
"""

import os
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from fcdd_quiz import element
from PIL import Image
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from fcdd_study import one_file, records

FOLDER = "_static/demos"
HERE = Path(__file__).parents[1] / "demos"
logger = logging.getLogger(__name__)


class Demo(SphinxDirective):
    """One figure."""

    required_arguments, has_content, option_spec = 1, True, {"alt": directives.unchanged_required}

    def run(self):
        name, alt = self.arguments[0], " ".join(self.options.get("alt", "").split())
        made = Path(self.config.fcdd_demos)
        still, data = (made / f"{name}{suffix}" for suffix in (".png", ".data.js"))
        for file in (still, data):
            self.env.note_dependency(str(file))
        if not alt or not (HERE / f"{name}.js").exists():
            known = ", ".join(sorted({path.stem for path in HERE.glob("*.js")} - {"loader", "kit"}))
            return self.warn(f"expected :alt: and a figure of book/demos, one of {known}") and []
        if still.exists() and data.exists():
            self.env.metadata[self.env.docname]["demos"] = True
            return [self.figure(name, self.picture(still, alt), element("div", classes=["stage"]), moves=True)]
        self.warn(f"no {still.name} in {made}; make book, or: python -m fcdd study demos {made}")
        line = nodes.emphasis("", "This figure needs a run that has not been made. It would show: ")
        return [self.figure(name, element("p", line, nodes.Text(alt)), moves=False)]

    def warn(self, told):
        logger.warning(
            "{demo} %s: %s", self.arguments[0], told, location=self.get_location(), type="fcdd", subtype="demo"
        )
        return True

    def picture(self, still, alt):
        with Image.open(still) as image:
            width, height = image.size
        source = "../" * self.env.docname.count("/") + f"{FOLDER}/{still.name}"
        size = {"width": str(width), "height": str(height)}
        return element("img", src=source, alt=alt, loading="lazy", classes=["still"], **size)

    def figure(self, name, *shown, moves):
        caption = self.parse_content_to_nodes() or [nodes.paragraph()]
        if moves:
            caption[-1] += element("span", nodes.Text(" On the screen this figure moves."), classes=["onpaper"])
        attributes = {"data-demo": name} if moves else {}
        return element(
            "figure", *shown, element("figcaption", *caption), classes=["demo"], id=f"demo-{name}", **attributes
        )


class DetectorPage(SphinxDirective):
    """{detector-page}: a link to the detector in one HTML file, and pictures to drop there; or why there is none."""

    def run(self):
        self.env.note_reread()
        made = Path(self.config.fcdd_detector)
        told = made / "told.txt"
        if not (made / one_file.PAGE).exists():
            why = told.read_text(encoding="utf-8") if told.exists() else "make book writes it"
            text = "In this build there is no such page to try"
            return [nodes.paragraph("", "", nodes.Text(f"{text}: "), nodes.literal("", why), nodes.Text("."))]
        up = "../" * self.env.docname.count("/") + FOLDER
        size = (made / one_file.PAGE).stat().st_size / 1e6
        page = element("a", nodes.Text("the detector of this page"), href=f"{up}/{one_file.PAGE}", target="_blank")
        asked = nodes.Text(f" ({size:.1f} MB). Save these pictures, and drop them there: ")
        shown = []
        for name in sorted(file.name for file in made.glob("*.jpg")):
            image = element("img", src=f"{up}/{name}", alt=f"paper, {name.partition('_')[0]}", width="96", height="96")
            shown.append(element("a", image, href=f"{up}/{name}", download=name))
        return [nodes.paragraph("", "", nodes.Text("Try it: "), page, asked), element("p", *shown, classes=["samples"])]


def add_loader(app, pagename, templatename, context, doctree):
    """The loader and the style, only on pages that have a figure."""
    if "demos" in app.env.metadata.get(pagename, {}):
        app.add_js_file("demos/loader.js", loading_method="defer")
        app.add_css_file("demos/demos.css")


def copy(app):
    """Scripts, numbers and stills, to where pages find them."""
    target = Path(app.outdir) / FOLDER
    if app.builder.format != "html":
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made = [file for kind in ("html", "jpg") for file in Path(app.config.fcdd_detector).glob(f"*.{kind}")]
    for file in [*HERE.glob("*.js"), *HERE.glob("*.css"), *Path(app.config.fcdd_demos).glob("*"), *made]:
        shutil.copyfile(file, target / file.name)


def setup(app):
    root = Path(os.environ.get("FCDD_ROOT", records.ROOT))
    profile = os.environ.get("FCDD_PROFILE", "quick")
    app.setup_extension("fcdd_quiz")  # for its node
    app.add_config_value("fcdd_demos", str(root / "_build" / "demos" / profile), "env")
    app.add_config_value("fcdd_detector", str(root / "_build" / "detector" / profile), "env")
    app.add_directive("demo", Demo)
    app.add_directive("detector-page", DetectorPage)
    app.connect("builder-inited", copy)
    app.connect("html-page-context", add_loader)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Pages load only what they use: MathJax where a formula stands, icons as a font instead of as 1.5 MB of script."""

from pathlib import Path


def _formulas(app, pagename, templatename, context, doctree):
    """Jupyter Book asks for everything on every page, and a formula in one chapter counts for the first page, too."""
    if 'class="math' not in context.get("body", ""):
        files = context["script_files"]
        told = [f"{file.filename} {file.attributes.get('body', '')}".lower() for file in files]
        context["script_files"] = [file for file, text in zip(files, told, strict=True) if "mathjax" not in text]


def _icons(app, error):
    """The theme has its icons twice, in a font and in a script that draws them; without the script the font is seen."""
    if app.builder.format == "html" and not error:
        for script in Path(app.outdir, "_static", "scripts").glob("fontawesome.js*"):
            script.write_text("", encoding="utf-8")


def _lists(app, pagename, templatename, context, doctree):
    """The bibliography's list has children that the role of a list does not allow."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def setup(app):
    app.connect("build-finished", _icons)
    app.connect("html-page-context", _lists)
    app.connect("html-page-context", _formulas, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

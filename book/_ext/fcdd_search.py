"""The search's excerpts, for a book that is opened from disk: there a page must not fetch others to quote them.

The texts of all pages go into a script that only the search page loads, and only from disk.
"""

import json
from html import escape
from pathlib import Path

from docutils import nodes

LOAD = r"""if (location.protocol === "file:") document.write('<script src="_static/pages.js"><\/script>');"""
SCRIPT = """(() => {
  const pages = %s;
  const plain = window.fetch;
  window.fetch = (address, ...rest) => {
    const path = decodeURI(new URL(address, location).pathname);
    const name = Object.keys(pages).find((each) => path.endsWith(`/${each}.html`));
    return name ? Promise.resolve(new Response(`<div role="main">${pages[name]}</div>`)) : plain(address, ...rest);
  };
})();
"""


def text_of(node) -> str:
    """The text below a node as HTML in which sections keep their names, as the search looks for these."""
    if isinstance(node, nodes.section):
        return f'<section id="{escape(node["ids"][0])}">{"".join(map(text_of, node.children))}</section>'
    if any(isinstance(child, nodes.section) for child in node.children):
        return "".join(map(text_of, node.children))
    return f"<p>{escape(node.astext())}</p>"


def _write(app):
    if app.builder.format == "html":
        pages = {name: text_of(app.env.get_doctree(name)) for name in sorted(app.env.found_docs)}
        file = Path(app.outdir) / "_static" / "pages.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SCRIPT % json.dumps(pages).replace("</", r"<\/"), encoding="utf-8")
    return []


def _load(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file(None, body=LOAD, priority=0)


def setup(app):
    app.connect("html-collect-pages", _write)
    app.connect("html-page-context", _load)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

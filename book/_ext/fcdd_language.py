"""Pages in another language: ``lang: ko`` in a page's front matter becomes the ``lang`` of its text.

Fonts, line breaks and screen readers follow it. What is around the text stays in the book's language.
"""


def _mark(app, pagename, templatename, context, doctree):
    language = (context.get("meta") or {}).get("lang")
    if language:
        context["body"] = f'<div lang="{language}">{context["body"]}</div>'


def setup(app):
    app.connect("html-page-context", _mark)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

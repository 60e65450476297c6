"""The book on paper: its pages as one, printed by a headless Chromium."""

import copy
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from . import chapters, records

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STYLE = """
@page { size: A4; margin: 17mm 15mm 19mm; @bottom-center { content: counter(page); font: 9pt sans-serif; } }
html, body { background: white; color: black; font-size: 10.5pt; overflow: visible; }
article { break-before: page; max-width: none; padding: 0; }
article:first-of-type { break-before: auto; }
.bd-article h1, .bd-article h2, .bd-article h3 { break-after: avoid; }
pre, .cell_input, .cell_output, .highlight, figure, img, table, fieldset, .admonition, div.math { break-inside: avoid; }
.admonition.solution { break-inside: auto; }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; overflow: visible !important; font-size: 8.5pt;
  line-height: 1.3; }
.listing pre { font-size: 7pt; line-height: 1.15; }
table { font-size: 8.5pt; max-width: 100%; }
/* A number is never broken over lines: "anywhere" would let the narrowest columns do so. */
td, th { overflow-wrap: break-word; white-space: normal !important; }
img { max-width: 100% !important; max-height: 225mm; object-fit: contain; height: auto; }
div, section, p { overflow: visible !important; max-width: 100%; }
mjx-container[display="true"] > svg { max-width: 100%; height: auto; }
.quiz .option { display: block !important; }
details > summary, .stage, button, .headerlink, input { display: none !important; }
details::details-content { display: block; content-visibility: visible; block-size: auto; }
"""


def browser() -> str | None:
    """The program of the first of :data:`BROWSERS` that is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pdf(solutions: bool = False) -> Path:
    """Prints the rendered book to ``_build/book.pdf``, or with its answers to ``_build/book-solutions.pdf``.

    Raises ChapterError where the book was not rendered, or no browser is installed.
    """
    build = records.ROOT / "_build"
    if not (build / "html" / "index.html").exists():
        raise chapters.ChapterError(f"nothing to print: there is no {build / 'html'}; run make book")
    program = browser()
    if program is None:
        known = ", ".join(BROWSERS)
        hint = "install one, or print single pages of _build/html from the browser that you have"
        raise chapters.ChapterError(f"expected a browser to print with, found none of {known}; {hint}")
    target = build / ("book-solutions.pdf" if solutions else "book.pdf")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "book.html"
        page.write_text(one_page(build / "html", pages(records.ROOT / "_toc.yml"), solutions), encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            "--allow-file-access-from-files",
        ]
        options += [f"--user-data-dir={folder}/browser", "--virtual-time-budget=600000", f"--print-to-pdf={target}"]
        told = subprocess.run([program, *options, page.as_uri()], capture_output=True, text=True, check=False)
    if told.returncode or not target.exists():
        raise chapters.ChapterError(f"{program} did not print: {told.stderr.strip()[-500:]}")
    return target


def pages(toc: Path) -> list[str]:
    """The pages of a table of contents in their order, as in ``notebooks/01_svdd``."""

    def files(node):
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, (dict, list)):
                if isinstance(value, dict) and "file" in value:
                    yield value["file"]
                yield from files(value)

    entries = yaml.safe_load(toc.read_text(encoding="utf-8"))
    return [entries["root"], *files(entries)]


def one_page(html: Path, names: list[str], solutions: bool) -> str:
    """All pages of a rendered book as one: links lead inside it, answers stay where ``solutions`` are wanted."""
    from bs4 import BeautifulSoup

    read = {name: BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser") for name in names}
    articles = [article(soup, name, html, names, solutions) for name, soup in read.items()]
    heads = [_head(soup, html / name) for name, soup in read.items()]
    kept = list(dict.fromkeys(line for lines in heads for line in lines))  # styles and formulas of all, each once
    title = read[names[0]].title.get_text()
    marked = ' class="solutions"' if solutions else ""  # the pages' own styles for paper hide answers without it
    begin = [f'<!doctype html>\n<html lang="en" data-theme="light" data-mode="light"{marked}><head>']
    begin += [f'<meta charset="utf-8"><title>{title}</title>', *kept, f"<style>{STYLE}</style></head><body>"]
    return "\n".join([*begin, *map(str, articles), "</body></html>"])


def _head(soup, page: Path) -> list[str]:
    """A page's styles, and what sets its formulas."""
    kept = []
    for tag in soup.select("head link[rel=stylesheet], head script"):
        words = tag.get("src", "") + tag.get_text()
        if tag.name == "link" or "MathJax" in words or "mathjax" in words:
            tag = copy.copy(tag)
            for key in {"href", "src"} & set(tag.attrs):
                tag[key] = _absolute(tag[key], page)
            kept.append(str(tag))
    return kept


def _absolute(address: str, page: Path) -> str:
    return (page.parent / unquote(urlsplit(address).path)).resolve().as_uri()


def article(soup, name: str, html: Path, names: list[str], solutions: bool):
    """The text of a page, fit to stand beside others."""
    found = soup.select_one("article.bd-article")
    slug, page = name.replace("/", "-"), html / name
    answers = () if solutions else found.select(".solution, .admonition.hint, .quiz details")
    for gone in [*answers, *found.select("script, .headerlink, .stage, .quiz input")]:
        gone.decompose()
    for fold in found.select("details"):
        fold["open"] = ""
    for tag in found.select("[id]"):
        tag["id"] = f"{slug}--{tag['id']}"
    for link in found.select("a[href]"):
        link["href"] = _inside(link["href"], name, html, names)
        if not link["href"]:
            link.unwrap()
    for image in found.select("img[src]"):
        if not image["src"].startswith("data:"):
            image["src"] = _absolute(image["src"], page)
        image["loading"] = "eager"
    found["id"] = slug
    return found


def _inside(address: str, name: str, html: Path, names: list[str]) -> str:
    """Where a link of a page leads on the one page; addresses of elsewhere stay, and "" for what is not printed."""
    parts = urlsplit(address)
    if parts.scheme:
        return address
    target = (html / name).parent / unquote(parts.path) if parts.path else html / f"{name}.html"
    inside = target.resolve().with_suffix("").as_posix().removeprefix(f"{html.resolve().as_posix()}/")
    slug = inside.replace("/", "-")
    if inside not in names:
        return ""
    return f"#{slug}--{parts.fragment}" if parts.fragment else f"#{slug}"

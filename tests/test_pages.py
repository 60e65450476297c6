"""The rendered book in a real browser: every page opens without a network, formulas and pictures are there, it fits.

The fixture ``book`` (conftest.py) is the folder of the rendered book.
"""

import functools
import http.server
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WIDTHS = (1280, 390)  # px: a laptop, a telephone
TOLERANCE = 1  # px; fractional widths are rounded up

# What must be true of a page, told as a list of complaints.
COMPLAINTS = r"""
() => {
  const told = [];
  const shown = (element) => element.outerHTML.slice(0, 120);
  for (const math of document.querySelectorAll('.math'))
    if (!math.querySelector('mjx-container')) told.push('formula not rendered: ' + shown(math));
  for (const error of document.querySelectorAll('mjx-merror, [data-mjx-error], [data-mml-node="merror"]'))
    told.push('error in a formula: ' + (error.getAttribute('data-mjx-error') || shown(error)));
  const raw = /\\\(|\\\[|\$\$|\$[^$\n]+\$|\\begin\{/;
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (raw.test(node.data) && !node.parentElement.closest('pre, code, script, style, mjx-container'))
      told.push('raw formula: ' + node.data.trim().slice(0, 120));
  }
  for (const image of document.querySelectorAll('img')) {
    const alt = (image.getAttribute('alt') || '').trim();
    const file = (image.getAttribute('src') || '').split('/').pop();
    if (!(image.complete && image.naturalWidth > 0)) told.push('picture not loaded: ' + shown(image));
    if (!alt || alt === image.getAttribute('src') || file.endsWith(alt) || /\.(png|svg|jpe?g)$/.test(alt))
      told.push('picture without a description: ' + shown(image));
  }
  for (const number of document.querySelectorAll('.run.missing')) told.push('number without a record: ' + number.title);
  return told;
}
"""
LAZY_IMAGES = "() => document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })"
# Rendering is over when MathJax says so; a page without formulas does not load it.
RENDERED = "async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }"
WIDER = """
() => [...document.querySelectorAll('main *')].map((e) => [e, Math.round(e.getBoundingClientRect().right)])
  .filter(([e, right]) => right > innerWidth + 1).slice(0, 5)
  .map(([e, right]) => e.tagName.toLowerCase() + '.' + e.className + ' ends at ' + right)
"""


def pages() -> list[str]:
    """The pages of the table of contents, as addresses in the book."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [f"{entry}.html" for entry in (toc["root"], *_files(toc))]


def _files(node):
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict) and "file" in value:
            yield value["file"]
        if isinstance(value, (dict, list)):
            yield from _files(value)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(scope="module")
def address(book):
    """The address at which the book is served, on this machine only."""
    handler = functools.partial(_Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Visit:
    """One page in a fresh tab, with what went wrong while it loaded."""

    def __init__(self, browser, address):
        self.address, self.troubles = address, []
        self.page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script error: {error}"))
        self.page.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url}, {request.failure}"))
        self.page.on("response", self._response)
        self.page.route("**/*", self._route)

    def _console(self, message):
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _response(self, response):
        if response.status >= 400:
            self.troubles.append(f"{response.status}: {response.url}")

    def _route(self, route):
        """Lets through what stays on this machine; records and refuses the rest."""
        url = urlsplit(route.request.url)
        if url.scheme in ("data", "blob", "about") or route.request.url.startswith(self.address + "/"):
            route.continue_()
        else:
            self.troubles.append(f"asks for another host: {route.request.url}")
            route.abort()

    def open(self, name):
        """Opens a page and waits until it is drawn."""
        self.page.goto(f"{self.address}/{name}", wait_until="load")
        self.page.evaluate(LAZY_IMAGES)
        self.page.evaluate(RENDERED)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture(scope="module")
def visit(browser, address):
    """Opens pages, each once and in a tab of its own, which stays open for the next test."""

    @functools.cache
    def opened(name):
        visited = Visit(browser, address)
        visited.open(name)
        return visited

    return opened


@pytest.mark.parametrize("name", pages())
def test_page_is_whole_and_needs_no_network(visit, name):
    page = visit(name)
    assert page.troubles + page.page.evaluate(COMPLAINTS) == []


@pytest.mark.parametrize("name", pages())
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_not_wider_than_the_window(visit, name, width):
    page = visit(name).page
    page.set_viewport_size({"width": width, "height": 900})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width + TOLERANCE, f"{wide} px wide: {page.evaluate(WIDER)}"


def test_first_page_leads_to_the_preface(browser, address):
    page = Visit(browser, address)
    page.page.goto(f"{address}/index.html")
    page.page.wait_for_url("**/book/preface.html")
    assert page.troubles == []


def test_checks_would_notice(visit):
    """An unknown macro, a raw formula, and a picture that is missing and has no description but its file's name."""
    page = visit("book/notation.html?").page
    page.evaluate(r"""() => {
      const main = document.querySelector('main');
      main.insertAdjacentHTML('beforeend', '<p><span class="math" id="wrong">\\(\\nosuchmacro\\)</span></p>'
        + '<p>\\(x\\)</p><img src="x.png" alt="x.png">');
      return MathJax.typesetPromise([main.querySelector('#wrong').parentElement]);
    }""")
    told = " ".join(page.evaluate(COMPLAINTS))
    for complaint in ("error in a formula", "raw formula", "picture not loaded", "picture without a description"):
        assert complaint in told


def test_search_finds_a_word(visit):
    page = visit("search.html?q=hypersphere")
    page.page.wait_for_selector("#search-results li a")
    assert page.troubles == []


def test_the_search_quotes_pages_from_disk(browser, book):
    """jupyter-book#2630, quarto-cli#3230; trial 10."""
    tab, troubles = browser.new_page(), []
    tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    tab.on("requestfailed", lambda request: troubles.append(request.url))
    tab.goto(f"{(book / 'search.html').as_uri()}?q=hypersphere")
    tab.wait_for_selector("#search-results li p.context")
    assert "hypersphere" in tab.locator("#search-results li p.context").first.inner_text().lower()
    assert troubles == []
    tab.close()

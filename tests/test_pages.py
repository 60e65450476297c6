"""The rendered book in a real browser, opened from disk without a network: formulas and pictures are there, links lead
somewhere, it fits the window, and it can be read in the dark and without eyes.

The fixture ``book`` (conftest.py) is the folder of the rendered book.
"""

import functools
import hashlib
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from fcdd.cli.page import from_npm

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
  const raw = /\\\(|\\\[|\$\$|\$[^$\n]+\$|\\begin\{|\{(run|compare)\}/;
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (raw.test(node.data) && !node.parentElement.closest('pre, code, script, style, mjx-container'))
      told.push('raw formula or role: ' + node.data.trim().slice(0, 120));
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


class Visit:
    """One page in a fresh tab, with what it asked for and what went wrong while it loaded."""

    def __init__(self, browser, book, **options):
        self.book, self.troubles, self.asked = book, [], []
        self.page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900}, offline=True, **options)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url}, {request.failure}"))

    def _console(self, message):
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _request(self, request):
        url = urlsplit(request.url)
        self.asked.append(unquote(url.path))
        if url.scheme not in ("data", "blob", "about") and not request.url.startswith(self.book.as_uri() + "/"):
            self.troubles.append(f"asks for something outside the book: {request.url}")

    def open(self, name):
        """Opens a page and waits until it is drawn."""
        self.page.goto(f"{self.book.as_uri()}/{name}", wait_until="load")
        self.page.evaluate(LAZY_IMAGES)
        self.page.evaluate(RENDERED)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture(scope="module")
def visit(browser, book):
    """Opens pages, each once and in a tab of its own, which stays open for the next test."""

    @functools.cache
    def opened(name):
        visited = Visit(browser, book)
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


def test_first_page_leads_to_the_preface_and_is_light(browser, book):
    page = Visit(browser, book)
    page.page.goto(f"{book.as_uri()}/index.html")
    page.page.wait_for_url("**/book/preface.html")
    page.page.wait_for_load_state("networkidle")
    assert page.troubles == []
    loaded = sum(Path(path).stat().st_size for path in set(page.asked) if Path(path).is_file())
    assert 100_000 < loaded <= 1_500_000


LINKS = "() => [...document.querySelectorAll('a[href]')].map((each) => each.href)"
NAMED = "() => [...document.querySelectorAll('[id], a[name]')].map((each) => each.id || each.name)"


def test_links_lead_somewhere(visit):
    """Those within the book: the file is there, and the place in it."""
    places, broken = {name: set(visit(name).page.evaluate(NAMED)) for name in pages()}, []
    for name in pages():
        for link in set(visit(name).page.evaluate(LINKS)):
            url = urlsplit(link)
            if url.scheme != "file":
                continue
            path, fragment = Path(unquote(url.path)), unquote(url.fragment).partition("?")[0]
            inside = str(path.relative_to(visit(name).book)) if path.is_relative_to(visit(name).book) else None
            if inside is None or not path.is_file() or (fragment and fragment not in places.get(inside, {fragment})):
                broken.append(f"{name}: {link}")
    assert broken == []


def test_a_verdict_can_be_chosen_in_the_tables_of_published_cells(visit):
    page = visit("notebooks/08b_tables.html").page
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tables = page.locator("table:has(td.verdict)")
    assert tables.count() == page.locator("label.verdicts select").count() == 4
    for k in range(4):
        choice, rows = page.locator("label.verdicts select").nth(k), tables.nth(k).locator("tbody tr")
        whole = rows.count()
        kinds = choice.locator("option").evaluate_all("all => all.map((o) => o.value)")[1:]
        left = 0
        for kind in kinds:
            choice.select_option(kind)
            seen = tables.nth(k).locator("tbody tr:visible td.verdict").all_inner_texts()
            assert seen and set(map(str.strip, seen)) == {kind}
            left += len(seen)
        assert left == whole
        choice.select_option("all")
        assert tables.nth(k).locator("tbody tr:visible").count() == whole


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


def test_the_search_quotes_pages(visit):
    """jupyter-book#2630, quarto-cli#3230; trial 10."""
    page = visit("search.html?q=hypersphere+collapse")
    page.page.wait_for_selector("#search-results li p.context")
    found = page.page.eval_on_selector_all("#search-results li a", "all => all.map((each) => each.href)")
    assert any("02_deep_svdd" in each for each in found)
    quoted = page.page.locator("#search-results li p.context").all_inner_texts()
    assert any("hypersphere collapse" in each.lower() for each in quoted)
    assert page.troubles == []


# ---- to be read by everyone ----


CUT = """
() => [...document.querySelectorAll(
    'main div.output, main .pst-scrollable-table-container, main mjx-container[display]')]
  .filter((e) => (e.querySelector('table') || e.matches('mjx-container')) && e.scrollWidth > e.clientWidth + 2)
  .filter((e) => e.clientWidth && !['scroll', 'auto'].includes(getComputedStyle(e).overflowX))
  .map((e) => e.innerText.slice(0, 80) + ': ' + (e.scrollWidth - e.clientWidth) + ' px')
"""
WIDE = """
() => [...document.querySelectorAll('main div.output, main .pst-scrollable-table-container')]
  .filter((e) => e.querySelector('table') && e.scrollWidth > e.clientWidth + 2)
  .map((e) => e.innerText.slice(0, 80) + ': ' + (e.scrollWidth - e.clientWidth) + ' px')
"""


@pytest.mark.parametrize("name", pages())
def test_no_table_is_cut_at_a_laptop_s_width(visit, name):
    """beakerx#681, thebe#658; trial 26."""
    page = visit(name).page
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    assert page.evaluate(WIDE) == []


@pytest.mark.parametrize("name", pages())
def test_nothing_is_cut_without_a_way_to_scroll_on_a_telephone(visit, name):
    page = visit(name).page
    page.set_viewport_size({"width": WIDTHS[1], "height": 900})
    assert page.evaluate(CUT) == []


SHRUNK = """
() => [...document.querySelectorAll('main img:not(.still)')].filter((each) => each.naturalWidth > 400)
  .map((each) => [each.src.split('/').pop(), each.getBoundingClientRect().width / each.naturalWidth])
  .filter(([name, part]) => part < 0.4)
"""


@pytest.mark.parametrize("name", pages())
def test_figures_can_be_read_on_a_telephone(visit, name):
    """thebe#658; trial 17: they were shown at a quarter of their size."""
    page = visit(name).page
    page.set_viewport_size({"width": WIDTHS[1], "height": 900})
    assert page.evaluate(SHRUNK) == []


AXE = "axe-core", "4.11.0", "39bed7d72308f6d620789c169d699bfd7e8da80f65b545821a6b2215c3e83107"
SCRIPT = "e9e5863c33a874f09bc01acd9234b7e3c871479f5eef8802fa582544465e6d01"
VIOLATIONS = """
async (only) => (await axe.run(document, only.length ? {runOnly: only} : {})).violations
  .filter((each) => ['serious', 'critical'].includes(each.impact))
  .flatMap((each) => each.nodes.map((node) => each.id + ': ' + node.html.slice(0, 160)))
"""


@pytest.fixture(scope="module")
def axe():
    """The script of axe-core, of one version, from npm."""
    try:
        packed = from_npm(*AXE)
    except OSError as error:
        pytest.skip(f"pages are not looked at with axe-core: {error}")
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js").read()
    assert hashlib.sha256(script).hexdigest() == SCRIPT
    return script.decode()


def violations(tab, axe, *only) -> list[str]:
    tab.evaluate(axe)
    return tab.evaluate(VIOLATIONS, list(only))


@pytest.mark.parametrize("name", pages())
def test_axe_finds_nothing_serious(visit, axe, name):
    """pydata-sphinx-theme#1428, #1100, #2153; trial 12."""
    page = visit(name).page
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    assert violations(page, axe) == []


@pytest.mark.parametrize("name", pages())
def test_the_dark_is_readable(browser, book, axe, name):
    """sphinx-book-theme#868, #743; trial 11."""
    dark = Visit(browser, book, color_scheme="dark")
    dark.page.add_init_script("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark');")
    dark.open(name)
    assert dark.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert violations(dark.page, axe, "color-contrast") == []
    dark.page.close()

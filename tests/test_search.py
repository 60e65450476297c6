"""The search of a book that was opened from disk: results with excerpts, and no error in the console; trial 10."""

import re

import pytest

PAGES = {
    "index": "# Begin\n\n```{toctree}\npart/far\n```\n\nA camera looks at paper.\n",
    "part/far": "# Spheres\n\nFirst words.\n\n## A narrow one\n\nThe hypersphere <b> & its center.\n",
}


@pytest.fixture
def site(sphinx, tmp_path):
    for name, text in PAGES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / f"{name}.md").write_text(text)
    settings = {"extensions": ["myst_nb", "fcdd_search"], "html_theme": "sphinx_book_theme"}
    settings["html_context"] = {"default_mode": "light"}
    sphinx(["index", "search"], **settings)
    return tmp_path / "out"


@pytest.mark.medium
@pytest.mark.parametrize("words, page, excerpt", [
    ("camera", "index.html", "A camera looks at paper."),
    ("hypersphere", "part/far.html", "The hypersphere <b> & its center."),
    ("narrow", "part/far.html#a-narrow-one", "The hypersphere <b> & its center."),
])  # fmt: skip
def test_the_search_quotes_pages_from_disk(site, browser, words, page, excerpt):
    tab, troubles = browser.new_page(), []
    tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("requestfailed", lambda request: troubles.append(request.url))
    tab.goto(f"{(site / 'search.html').as_uri()}?q={words}")
    tab.wait_for_selector("#search-results li p.context")
    found = tab.locator("#search-results li", has=tab.locator(f'a[href^="{page}"]'))
    assert excerpt in found.locator("p.context").first.inner_text()
    assert troubles == []
    tab.close()


def test_a_page_that_is_read_over_a_network_loads_no_texts(site):
    for page in (site / "index.html", site / "part" / "far.html"):
        assert "pages.js" not in page.read_text()
    assert 'location.protocol === "file:"' in (site / "search.html").read_text()


# ---- what else the book's pages are given ----


def test_a_chapter_named_by_its_number_is_linked(tmp_path, sphinx):
    (tmp_path / "source" / "notebooks").mkdir(parents=True)
    (tmp_path / "source" / "notebooks" / "05_fcdd.md").write_text("# 05 · FCDD\n\nThis is chapter 05.\n")
    text = "# A\n\nSee chapter 05, `chapter 05`, and chapter 03.\n\n## On chapter 05\n"
    (tmp_path / "source" / "index.md").write_text(text)
    (index, own), warnings = sphinx(["index", "notebooks/05_fcdd"], extensions=["myst_parser", "fcdd_chapters"])
    linked = re.findall(r'<a class="reference internal" href="(notebooks/05_fcdd.html)">', index)
    assert linked == ["notebooks/05_fcdd.html"] and "chapter 03" in index and "reference" not in warnings
    assert '<span class="doc">chapter 05' not in own


def test_mathjax_is_loaded_where_a_formula_stands(tmp_path, sphinx):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "index.md").write_text("# A\n\nNo formula.\n")
    (tmp_path / "source" / "formula.md").write_text("# B\n\n$x^2$\n")
    extensions = ["myst_nb", "sphinx.ext.mathjax", "fcdd_light"]
    (index, formula), _ = sphinx(["index", "formula"], extensions=extensions, myst_enable_extensions=["dollarmath"])
    assert "mathjax" not in index.lower().replace("mathjax_ignore", "") and "mathjax" in formula.lower()

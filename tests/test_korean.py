"""The door in Korean: terms in two languages that both can be linked to, and a page that leads to every chapter."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HANGUL = re.compile("[가-힣]")
CHAPTER = re.compile(r"notebooks/(\d\d)_\w+")


def terms() -> list[list[str]]:
    """The names of each entry of the glossary."""
    entries, names = [], []
    for line in (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").split(":::{glossary}\n")[1].splitlines():
        if line.startswith("  "):
            entries += [names] if names else []
            names = []
        elif line and line != ":::":
            names.append(line)
    return entries


def sections() -> dict[str, str]:
    """The text under each second-level heading of the Korean page."""
    page = (ROOT / "book" / "korean.md").read_text(encoding="utf-8")
    return dict(part.split("\n", 1) for part in page.split("\n## ")[1:])


def chapters() -> list[str]:
    """The chapters of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [file for file in files if CHAPTER.fullmatch(file)]


def test_every_term_has_an_english_and_a_korean_name():
    assert len(terms()) > 40
    wrong = [names for names in terms() if [bool(HANGUL.search(name)) for name in names] != [False, True]]
    assert wrong == []
    korean = [names[1] for names in terms()]
    assert len(set(korean)) == len(korean)


def test_page_tells_every_chapter_in_order_and_links_it():
    assert len(chapters()) == 10
    told = [heading for heading in sections() if re.match(r"\d\d장", heading)]
    assert [heading[:2] for heading in told] == [CHAPTER.fullmatch(file)[1] for file in chapters()]
    for heading, file in zip(told, chapters(), strict=True):
        text = sections()[heading]
        assert f"<../{file}>`" in text, heading
        for part in ("**질문.**", "한 줄.**", "**남는 것.**", '<svg class="sketch"', "aria-label"):
            assert part in text, (heading, part)


@pytest.fixture
def rendered(tmp_path, sphinx):
    """The Korean page and the glossary as Sphinx renders them beside empty chapters, and its warnings."""
    book = tmp_path / "source" / "book"
    shutil.copytree(ROOT / "book" / "_static", book / "_static", ignore=shutil.ignore_patterns("vendor"))
    for name in ("korean.md", "glossary.md", "references.md", "references.bib"):
        shutil.copy(ROOT / "book" / name, book)
    names = [path.stem for path in (ROOT / "book").glob("*.md") if not (book / path.name).exists()]
    for file in [f"book/{name}" for name in names] + chapters():
        (tmp_path / "source" / f"{file}.md").parent.mkdir(exist_ok=True)
        (tmp_path / "source" / f"{file}.md").write_text(f"# {file}\n")
    (tmp_path / "source" / "index.md").write_text("# Book\n\n```{toctree}\n:glob:\nbook/*\nnotebooks/*\n```\n")
    return sphinx(
        ["book/korean", "book/glossary"],
        extensions=["myst_nb", "sphinx.ext.mathjax", "sphinxcontrib.bibtex", "fcdd_numbers", "fcdd_language"],
        myst_enable_extensions=["amsmath", "colon_fence", "dollarmath"],
        bibtex_bibfiles=["book/references.bib"],
        fcdd_records=[str(tmp_path / "records")],
    )


def test_pages_render_with_their_language_and_links_in_both(rendered):
    (korean, glossary), warnings = rendered
    others = [line for line in warnings.splitlines() if "records are there" not in line]  # none is made here
    assert others == []
    assert '<div lang="ko">' in korean and 'lang="ko"' not in glossary
    for name in ("term-hypersphere", "term-receptive-field", "term-anomaly-detection"):
        assert f'id="{name}"' in glossary
    used = (ROOT / "book" / "korean.md").read_text(encoding="utf-8").count("{term}`")
    assert used >= 20 and len(re.findall(r'href="glossary.html#term-', korean)) == used

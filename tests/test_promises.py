"""Each promise of the page names a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_promise_names_a_test_that_exists():
    page = (ROOT / "book" / "promises.md").read_text(encoding="utf-8")
    promises = re.findall(r"^- .*?(?=^- |^#|\Z)", page, re.M | re.S)
    assert len(promises) >= 20
    for promise in promises:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", promise)
        assert named, promise
        for file, name in named:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_the_page_is_in_the_book():
    assert "file: book/promises" in (ROOT / "_toc.yml").read_text(encoding="utf-8")

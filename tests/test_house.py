"""The house is in order: its sizes, which way imports go, what a file may know."""

import ast
from pathlib import Path

import grimp
import networkx
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fcdd", "fcdd_study")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SPINE = ("objectives", "networks", "receptive", "training", "estimator", "detectors", "svdd")


def lines(path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def name(path) -> str:
    return str(path.relative_to(ROOT))


# ---- sizes ----


def test_the_spine_reads_in_one_sitting():
    assert sum(lines(path) for part in SPINE if (path := ROOT / "fcdd" / f"{part}.py").exists()) <= 1_900


def test_the_library_is_small():
    """What is imported; then with it the command line and the readers of data sets, which have folders of their own."""
    assert sum(map(lines, (ROOT / "fcdd").glob("*.py"))) <= 6_000
    assert sum(map(lines, (ROOT / "fcdd").rglob("*.py"))) <= 8_050


def test_no_other_file_is_long():
    spine = [ROOT / "fcdd" / f"{part}.py" for part in SPINE]
    assert {name(path): count for path in FILES if path not in spine and (count := lines(path)) > 400} == {}


def test_no_function_is_long():
    """Of code and docstring; classes are counted by their methods."""
    long = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (count := node.end_lineno - node.lineno + 1) > 60:
                long[f"{name(path)}: {node.name}"] = count
    assert long == {}


def test_no_inheritance_is_deep():
    """A class of ours may have a parent of ours, but no grandparent of ours; mixins are not counted."""
    parents = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                parents[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    grandparents = {
        child: grandparent
        for child, ours in parents.items()
        for parent in ours
        for grandparent in parents.get(parent, [])
        if grandparent in parents and not grandparent.endswith("Mixin")
    }
    assert grandparents == {}


# ---- imports ----


@pytest.fixture(scope="module")
def graph():
    """Who imports whom, inside functions too; what only type checkers read is left out."""
    return grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)


def test_no_circle_of_imports(graph):
    arrows = [(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)]
    circles = networkx.strongly_connected_components(networkx.DiGraph(arrows))
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []


def test_the_library_does_not_know_the_study(graph):
    """It meets it through the entry points ``fcdd.commands`` and ``fcdd.datasets`` alone."""
    importers = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert {
        module: other
        for module, imported in importers.items()
        for other in imported
        if module.partition(".")[0] == "fcdd" and other.startswith("fcdd_study")
    } == {}


def test_what_writes_files_knows_no_class(graph):
    assert graph.find_modules_directly_imported_by("fcdd.files") <= {"fcdd"}


def test_the_graph_sees_imports_inside_functions(graph):
    assert "fcdd.layouts" in graph.find_modules_directly_imported_by("fcdd.cli.commands")

"""What code stands behind a run or a chapter: files found by following imports, and their hash.

This file is in no run's own hash: how a hash is taken changes no number. Taught in: chapter 08.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

import grimp

from . import protocol


@cache
def _imports() -> grimp.ImportGraph:
    graph = grimp.build_graph("fcdd", "fcdd_study", cache_dir=None)
    # Writing a model to a file changes none of its numbers.
    for importer in ("fcdd.detectors", "fcdd.patches"):
        graph.remove_import(importer=importer, imported="fcdd.export")
    return graph


@cache
def files_of_method(method: str) -> tuple[Path, ...]:
    """The files of this library that a method's numbers depend on: what its estimator and the protocol import."""
    home = protocol.METHODS[method].module
    # The protocol can import every estimator; only its own text counts here.
    return tuple(sorted({Path(protocol.__file__), *_closure((home, "fcdd.datasets", "fcdd.metrics"))}))


def files_behind(names: set[str], *modules: str) -> tuple[Path, ...]:
    """The files behind the library's ``names`` (estimators or modules) that a text mentions, and behind ``modules``."""
    import fcdd

    homes = {"fcdd" + home for name, home in fcdd._HOME.items() if name in names}
    parts = {module for module in _imports().modules if module.count(".") == 1 and module.split(".")[1] in names}
    parts |= {module for module in _imports().modules if re.fullmatch(r"fcdd_study\.figures\.(\w+)", module)
              and module.split(".")[2] in names}  # fmt: skip
    return tuple(sorted(_closure(sorted(homes | parts | set(modules)))))


def _closure(roots) -> set[Path]:
    graph = _imports()
    return {_file(module) for root in roots for module in {root} | graph.find_upstream_modules(root)}


def _file(module: str) -> Path:
    base = Path(__file__).parents[1].joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def of_method(method: str) -> str:
    """sha256 over :func:`files_of_method`."""
    return sha256(files_of_method(method))


def sha256(files) -> str:
    """sha256 over the contents of files, in the given order; of Python files over what is left by :func:`essence`."""
    parts = (essence(file.read_text(encoding="utf-8")) if file.suffix == ".py" else file.read_bytes() for file in files)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def essence(source: str) -> bytes:
    """Python code without docstrings, comment lines and blank lines: a better sentence makes no record stale."""
    dropped = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            dropped |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = [line.rstrip() for number, line in enumerate(source.splitlines(), 1) if number not in dropped]
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#")).encode()

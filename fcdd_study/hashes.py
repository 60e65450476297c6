"""What stands behind a run or a chapter, code and images, as one hash each: protocol → hashes → records → engine.

Code is found by following imports. This file is in no run's own hash: how a hash is taken changes no number.
Taught in: chapter 08.
"""

import ast
import hashlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import grimp
import numpy as np
import yaml

from . import protocol

PROJECT = Path(__file__).parents[1]
PROTOCOL, REGISTRY = "fcdd_study.protocol", "fcdd.datasets"
# What changes no number of the modules that import it: it forwards names, and it writes a model to a file.
WITHOUT_EFFECT = {"fcdd", "fcdd.files"}


# ---- code ----


def files_of(run: protocol.Run) -> tuple[Path, ...]:
    """The files that a run's numbers depend on, whatever its class and seed: its method's, its data set's, those of the
    data set that it is exposed to, the protocol and the metrics."""
    return _files_behind(_roots(run)) + (_file(REGISTRY).with_name("registry.yml"),)


def of_run(run: protocol.Run) -> str:
    """sha256 over :func:`files_of`; of ``registry.yml`` only over what it says of the run's data sets."""
    return _sha256_behind(_roots(run), _data_sets(run))


def still(run: protocol.Run) -> bool:
    """Whether the files behind a run are what they were when :func:`of_run` was first asked in this process."""
    roots = _roots(run)
    return _sha256_behind(roots, _data_sets(run)) == _sha256_behind.__wrapped__(roots, _data_sets(run))


def files_behind(names: set[str], *modules: str) -> tuple[Path, ...]:
    """The files behind the library's ``names`` (estimators or modules) that a text mentions, and behind ``modules``."""
    import fcdd

    homes = {f"fcdd.{home}" for name, home in fcdd._HOME.items() if name in names}
    rooms = "fcdd", "fcdd_study", "fcdd_study.figures"
    parts = {f"{room}.{name}" for room in rooms for name in names} & _imports().modules
    return _sorted_files(_closure(homes | parts | set(modules)))


def sha256(files) -> str:
    """sha256 over the contents of files, in the given order; of Python files over their :func:`syntax`."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(repr(syntax(ast.parse(content))).encode() if file.suffix == ".py" else content)
        digest.update(b"\0")
    return digest.hexdigest()


def syntax(node):
    """A syntax tree as nested tuples, without positions, docstrings and comments: a better sentence makes no record
    stale. Empty fields are left out, as each version of Python adds some of its own, so that all agree."""
    if isinstance(node, list):
        return [syntax(each) for each in node if not _is_docstring(each)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, syntax(value)) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return type(node).__name__, *fields


def _is_docstring(node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _data_sets(run: protocol.Run) -> tuple[str, ...]:
    """The run's data set, the one that it is exposed to, and the one whose classes are left out of that."""
    named = run.dataset, run.settings.get("exposure"), run.settings.get("exposure_without")
    return tuple(name for name in named if name in data_set_modules())


def _roots(run: protocol.Run) -> frozenset[str]:
    """The modules where a run's code begins. The protocol imports what any run may need; this says what one needs."""
    roots = {PROTOCOL, REGISTRY, "fcdd.metrics", protocol.METHODS[run.method].module}
    roots |= {data_set_modules()[name] for name in _data_sets(run)}
    roots |= {"fcdd.many"} if run.stackable else set()
    roots |= {"fcdd_study.defects"} if run.shares.get("defects") else set()
    roots |= {"fcdd.honesty"} if protocol.GAIN in run.settings else set()
    return frozenset(roots)


@cache
def _files_behind(roots: frozenset[str]) -> tuple[Path, ...]:
    readers = set(data_set_modules().values())

    def followed(importer: str, imported: str) -> bool:
        return importer != PROTOCOL and not (importer == REGISTRY and imported in readers)

    return _sorted_files(_closure(roots, followed))


@cache
def _sha256_behind(roots: frozenset[str], data_sets: tuple[str, ...]) -> str:
    said = {name: facts().get(name) for name in data_sets}
    return hashlib.sha256(f"{sha256(_files_behind(roots))}{said}".encode()).hexdigest()


@cache
def data_set_modules() -> dict[str, str]:
    """Data set → the module that reads it: its entry point's; in the library the one whose ``ENTRIES`` name it, read
    from the text, as importing it is slow."""
    found = {each.name: each.module for each in entry_points(group=REGISTRY) if each.module in _imports().modules}
    for module in _imports().find_modules_directly_imported_by(REGISTRY):
        for node in ast.parse(_file(module).read_bytes()).body:
            if isinstance(node, ast.Assign) and "ENTRIES" in {name.id for name in _nodes(node, ast.Name)}:
                found |= {text.value: module for text in _nodes(node, ast.Constant) if text.value in facts()}
    return found


def _nodes(tree, kind) -> list:
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


@cache
def facts() -> dict[str, dict]:
    """What ``registry.yml`` says of each data set."""
    return yaml.safe_load(_file(REGISTRY).with_name("registry.yml").read_text(encoding="utf-8"))


@cache
def _imports() -> grimp.ImportGraph:
    """Who imports whom. Raises RuntimeError if the library that is imported is not the one whose files are hashed."""
    import fcdd

    home = Path(fcdd.__file__).parents[1]
    if home.resolve() != PROJECT.resolve():
        raise RuntimeError(
            f"two checkouts are mixed: the study is that of {PROJECT}, the library that of {home}; "
            f"install one (pip install -e {PROJECT}), or start with PYTHONPATH={PROJECT}"
        )
    return grimp.build_graph("fcdd", "fcdd_study", exclude_type_checking_imports=True, cache_dir=None)


def _closure(roots, followed=lambda importer, imported: True) -> set[str]:
    """``roots`` and what they import, imports inside functions counted, as far as they are to be followed."""
    found, left = set(), list(roots)
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            imported = _imports().find_modules_directly_imported_by(module) - WITHOUT_EFFECT
            left += [each for each in imported if followed(module, each)]
    return found


def _sorted_files(modules: set[str]) -> tuple[Path, ...]:
    """The files of modules, and those of the same name beside them that hold what they read: ``overlaps.yml``."""
    files = [_file(module) for module in modules]
    return tuple(sorted({*files, *(data for file in files if (data := file.with_suffix(".yml")).exists())}))


def _file(module: str) -> Path:
    base = PROJECT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


# ---- images ----


def of_data(data, outliers=None) -> str:
    """sha256 over all that a run learns from and is judged by: images, labels, ground truth and masks of both parts of
    a split, and the set of ``outliers`` (N, C, H, W) that it sees, if there is one."""
    parts = [getattr(part, key) for part in (data.train, data.test) for key in ("images", "y", "anomalous", "masks")]
    digest = _digest(*parts)
    if outliers is not None:
        digest.update(_digest(outliers).digest())
    return digest.hexdigest()


def _digest(*arrays):
    """sha256 over type, shape and values of arrays, any of which may be None."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray([] if array is None else array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array)
    return digest

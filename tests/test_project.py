"""The project's own files: dependencies in step, lock file with hashes only, notebooks committed without outputs."""

import ast
import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from fcdd_study import course

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


# ---- dependencies ----


def test_environment_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    extras = ",".join(PROJECT["optional-dependencies"])
    assert environment["dependencies"] == [
        f"python{PROJECT['requires-python']}",
        "pip",
        {"pip": [f"-e .[{extras}]"]},
    ]


def normal_name(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def locked():
    """Name → list of (version, number of hashes); a name may be there once for each version of Python."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    found = {}
    for line in lines:
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!]+)", line)
        assert match, f"not pinned: {line[:80]}"
        found.setdefault(normal_name(match[1]), []).append(
            (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)))
        )
    return found


def test_lock_pins_every_package_with_hashes_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text and "index-url" not in text
    packages = locked()
    assert len(packages) > 100
    without = [name for name, entries in packages.items() if not all(hashes for _, hashes in entries)]
    assert without == []


def test_lock_leaves_out_what_takes_two_seconds_to_import():
    assert "jsonschema" in locked() and not {"rfc3987-syntax", "lark"} & locked().keys()


def test_lock_holds_every_dependency():
    assert {normal_name(requirement) for requirement in WANTED} <= locked().keys()


def test_lock_satisfies_the_specifiers():
    specifiers = pytest.importorskip("packaging.requirements")
    packages = locked()
    for requirement in map(specifiers.Requirement, WANTED):
        for version, _ in packages[normal_name(requirement.name)]:
            assert requirement.specifier.contains(version), f"{requirement} against {version}"


# ---- committed files ----


def committed():
    """Files below the root that .gitignore does not name."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()] + [".git"]

    def walk(folder):
        for path in folder.iterdir():
            inside = str(path.relative_to(ROOT))
            if any(fnmatch(path.name, pattern) or inside == pattern for pattern in ignored):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            else:
                yield path

    return list(walk(ROOT))


def test_no_large_files():
    files = committed()
    assert len(files) > 40
    assert [str(path) for path in files if path.stat().st_size > 6e6] == []


def test_no_weights_or_caches_among_the_files():
    """But for one small model of each older version, which this one must read."""
    kept = ROOT / "tests" / "models"
    unwanted = (".pt", ".safetensors", ".pyc", ".part", ".tmp")
    assert [str(path) for path in committed() if path.suffix in unwanted and path.parent != kept] == []


# ---- notebooks ----


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_clean_and_takes_parameters(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []
    assert "fcdd" not in notebook["metadata"] and "papermill" not in notebook["metadata"]
    first, *others = cells
    assert first["metadata"]["tags"] == ["parameters"]
    assert not any("parameters" in cell["metadata"].get("tags", []) for cell in others)
    assigned = {target.id for node in ast.parse("".join(first["source"])).body for target in node.targets}
    assert {"profile", "device"} <= assigned
    if path.match(course.CHAPTERS):  # pages of results have all classes and seeds
        assert "seed" in assigned and assigned & {"normal", "category"}


def test_there_are_notebooks():
    if not NOTEBOOKS:
        pytest.skip("no chapters are written yet")
    assert [path.stem for path in NOTEBOOKS] == sorted(path.stem for path in NOTEBOOKS)
    assert all(re.fullmatch(r"\d\d[a-z]?_\w+", path.stem) for path in NOTEBOOKS)


def test_cells_are_short():
    """Pages are for reading: half of all cells have at most six lines, none more than 25, and all fit its width."""
    cells = [
        "".join(cell["source"]).splitlines()
        for path in NOTEBOOKS
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    lengths = sorted(map(len, cells))
    assert lengths[len(lengths) // 2] <= 6 and lengths[-1] <= 25
    assert max(len(line) for cell in cells for line in cell) <= 80

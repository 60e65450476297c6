"""What comes in with the packages and what goes out with the project: audit, workflows, licences, how it is cited."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CC_BY = "https://creativecommons.org/licenses/by/4.0/"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---- audit ----


@pytest.fixture(scope="module")
def audit():
    loader = SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("audit", loader))
    loader.exec_module(module)
    return module


WELL = {"name": "numpy", "version": "2.0", "vulns": []}
WEAK = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "description": ""}]}
OPEN = {"name": "torch", "version": "1.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "description": ""}]}
SKIPPED = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited: ours (1)"}


@pytest.mark.parametrize("packages, code, lines", [
    ([WELL], 0, ["1 of 1 packages of requirements.lock audited, known weaknesses: 0"]),
    ([WELL, WEAK, OPEN], 1, [
        "pillow 1.0: PYSEC-1, mended in 1.1", "torch 1.0: PYSEC-2, mended in no one",
        "3 of 3 packages of requirements.lock audited, known weaknesses: 2",
        "newer versions: make lock ARGS='--upgrade-package NAME', then make check",
    ]),
    ([WELL, SKIPPED], 1, [
        f"not audited: ours: {SKIPPED['skip_reason']}",
        "1 of 2 packages of requirements.lock audited, known weaknesses: 0",
    ]),
])  # fmt: skip
def test_an_audit_tells_what_is_weak_and_what_it_could_not_ask_about(audit, packages, code, lines):
    assert audit.verdict(json.dumps({"dependencies": packages, "fixes": []})) == (code, lines)


@pytest.mark.parametrize("told", ["", "{", json.dumps({"dependencies": [SKIPPED, SKIPPED]})])
def test_an_audit_of_nothing_is_no_success(audit, told):
    """pip-audit ends with 0 where an index answers for the packages, but knows no advisories."""
    assert audit.verdict(told) == (1, [audit.UNREACHED])


# ---- workflows ----


def steps(path):
    """The steps of a workflow's jobs."""
    return [step for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values() for step in job["steps"]]


def test_there_are_workflows():
    assert [path.stem for path in WORKFLOWS] == ["pages", "tests"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_what_there_is(path):
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    told = [line.split() for step in steps(path) for line in step.get("run", "").splitlines()]
    assert told and {words[0] for words in told} <= {"make", "pip", "pytest", *PROJECT["scripts"]}
    assert {name for words in told if words[0] == "make" for name in words[1:]} <= targets
    assert [word for words in told for word in words if word.startswith("tests/") and not (ROOT / word).exists()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_s_actions_are_pinned_by_major_version_and_its_rights_are_named(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used and [name for name in used if not re.fullmatch(r"actions/[\w-]+@v\d+", name)] == []
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert told["permissions"]["contents"] == "read"
    assert all(job["timeout-minutes"] <= 120 for job in told["jobs"].values())


def test_the_library_s_tests_need_nothing_but_the_library():
    """On three systems, in an environment without Jupyter, Snakemake or the study's packages."""
    (job,) = [job for job in yaml.safe_load(text(".github/workflows/tests.yml"))["jobs"].values() if "strategy" in job]
    assert {name.partition("-")[0] for name in job["strategy"]["matrix"]["os"]} == {"ubuntu", "macos", "windows"}
    (line,) = [step["run"] for step in job["steps"] if "pytest -q" in step.get("run", "")]
    files = [word for word in line.split() if word.startswith("tests/")]
    assert len(files) > 10
    wanted = [re.match(r"[\w-]+", need)[0].replace("-", "_") for need in PROJECT["dependencies"]]
    known = {*sys.stdlib_module_names, *wanted, "fcdd", "PIL", "sklearn", "skimage", "yaml", "conftest", "pytest"}
    strange = {name: imports(name) - known - {"hypothesis"} for name in files}
    assert {name: names for name, names in strange.items() if names} == {}


def imports(name: str) -> set[str]:
    """The packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


# ---- licences, and how to cite ----


def test_the_citation_is_whole_and_of_this_version():
    told = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= told.keys()
    assert told["version"] == told["preferred-citation"]["version"] == PROJECT["version"]
    assert told["license"] == PROJECT["license"] == "MIT" and told["preferred-citation"]["license"] == "CC-BY-4.0"
    assert all(each["authors"] and each["title"] for each in (told, told["preferred-citation"], *told["references"]))


@pytest.mark.slow
def test_the_citation_is_valid():
    command = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "cffconvert", "--validate", "-i", "CITATION.cff"]
    there = subprocess.run([*command[:-3], "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    if there.returncode:
        pytest.skip("cffconvert cannot be fetched: CITATION.cff is not validated")
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_licence_is_said_where_people_look():
    assert text("LICENSE").startswith("MIT License") and CC_BY in text("LICENSE")
    assert CC_BY in text("README.md").partition("## Licence")[2]
    footer = yaml.safe_load(text("_config.yml"))["sphinx"]["config"]["html_theme_options"]["extra_footer"]
    assert CC_BY in footer and "CC BY 4.0" in footer and "MIT" in footer


def test_the_security_page_names_tests_that_are_there():
    named = re.findall(r"`(tests/\w+\.py)`", text("SECURITY.md"))
    assert len(named) > 3 and [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_tells_of_what_is_not_released():
    assert "## Unreleased" in text("CHANGELOG.md") and "make audit" in text("CHANGELOG.md")

"""Shared fixtures: the golden numbers of the official code, and small real splits of the embedded Fashion-MNIST."""

import functools
import os
import shutil
import subprocess
import sys

os.environ["TQDM_DISABLE"] = "1"  # before tqdm is imported
os.environ["MPLBACKEND"] = "agg"

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from fcdd import datasets

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

torch.set_num_threads(1)  # two workers share two cores
settings.register_profile("fcdd", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("fcdd")


# Tests with these fixtures build the book, run the study in copies of the project or all benchmarks: `make test` leaves
# them out.
SLOW = {"book", "copied", "result"}
# Files that train networks or start processes: `make check` leaves them out.
MEDIUM = {
    "test_baselines.py", "test_benchmarks.py", "test_chapters.py", "test_chapters_01_02.py", "test_cli.py",
    "test_commands.py", "test_course.py", "test_datasets.py", "test_detectors.py", "test_engine.py", "test_faults.py",
    "test_features.py", "test_files.py", "test_gpu.py", "test_memory.py", "test_models.py", "test_mvtec.py",
    "test_networks.py", "test_numbers.py", "test_package.py", "test_page.py", "test_patches.py",
    "test_quiz.py", "test_records.py", "test_report.py", "test_stacking.py", "test_stream.py", "test_surroundings.py",
    "test_tour.py", "test_training.py", "test_verdicts.py", "test_watch.py",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if SLOW & set(item.fixturenames):
            item.add_marker("slow")
        if item.path.name in MEDIUM:
            item.add_marker("medium")


def pytest_terminal_summary(terminalreporter):
    """Why tests were skipped, and how many for each reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section(f"{len(skipped)} skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5}  {reason}")


@pytest.fixture(scope="session")
def golden():
    """Numbers computed with the official FCDD code, as tensors."""
    path = SHARED / "golden" / "fcdd_reference.npz"
    if not path.exists():
        pytest.skip(f"needs the golden numbers of the official code in {path}")
    with np.load(path) as arrays:
        return {key: torch.as_tensor(arrays[key]) for key in arrays}


def small(normal, train=300, test=30):
    """The first ``train`` nominal and the first ``test`` test images of each class, all of them real."""
    whole = datasets.load("fashion-mnist-small", normal)
    chosen = np.concatenate([np.flatnonzero(whole.test.names == name)[:test] for name in np.unique(whole.test.names)])

    def take(images, index):
        return replace(images, **{key: getattr(images, key)[index] for key in ("images", "y", "anomalous", "names")})

    return replace(whole, train=take(whole.train, np.arange(train)), test=take(whole.test, chosen))


@pytest.fixture(scope="session")
def boots():
    return small("Ankle boot")


@pytest.fixture(scope="session")
def trousers():
    return small("Trouser", train=60, test=6)


@pytest.fixture(scope="session")
def common(tmp_path_factory, worker_id):
    """A temporary folder that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def copy_project():
    """Copies the project's files, without what was built, to a folder."""

    def copy(root):
        listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in (name for name in names if name and (ROOT / name).is_file()):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
        return root

    return copy


@pytest.fixture(scope="session")
def checkout(common, copy_project):
    """A copy of the project in a folder whose name holds a space, shared by all workers."""
    root = common / "a b"
    with FileLock(common / "checkout.lock"):
        return root if root.exists() else copy_project(root)


@pytest.fixture(scope="session")
def book(checkout):
    """The folder of the rendered book, built by the graph in profile smoke from the copy."""
    html = checkout / "_build" / "html"
    with FileLock(checkout.parent / "book.lock"):
        if not html.exists():
            command = [sys.executable, "-m", "snakemake", "book", "--cores", "2", "--scheduler", "greedy", "--nolock"]
            # A shell that would leave out all figures, as that of many servers: they are there all the same.
            environment = os.environ | {"PYTHONPATH": str(checkout), "MPLBACKEND": "agg"}
            told = subprocess.run(
                [*command, "--config", "profile=smoke"], cwd=checkout, env=environment, capture_output=True, text=True
            )
            if told.returncode:
                shutil.rmtree(html, ignore_errors=True)
                pytest.fail(told.stdout + told.stderr)
    return html


@pytest.fixture(scope="session")
def sphinx_in():
    """Renders ``folder/source`` into ``folder/out`` with the book's extensions; returns the pages and the warnings.

    In a process of its own, because an extension leaves traces in Sphinx that the next build of the process would meet.
    """

    def built(folder, pages, **settings):
        lines = ["import sys", f"sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})"]
        lines += [f"{key} = {value!r}" for key, value in settings.items()]
        (folder / "source" / "conf.py").write_text("\n".join(lines))
        command = [sys.executable, "-m", "sphinx", "-q", folder / "source", folder / "out"]
        told = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return [(folder / "out" / f"{page}.html").read_text() for page in pages], told.stderr

    return built


@pytest.fixture
def sphinx(tmp_path, sphinx_in):
    """Renders ``tmp_path/source`` into ``tmp_path/out``."""
    return functools.partial(sphinx_in, tmp_path)


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pages are not looked at")
    from fcdd_study import printed  # here, as the library's own tests run without what the book needs

    program = printed.browser()
    if program is None:
        pytest.skip(f"none of {', '.join(printed.BROWSERS)} is installed: pages are not looked at")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        yield playwright.chromium.launch(executable_path=program, args=arguments)

"""The graph in a copy of the project, in a folder whose name holds a space: built, changed. Kills: test_engine.py."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

from filelock import FileLock

WORDS = ("08d_replication",)  # chapters that draw nothing


def snakemake(root, *arguments):
    """The graph of the copy in profile smoke, called as the Makefile does."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--scheduler", "greedy"]
    command += ["--rerun-incomplete", "--nolock", "--config", "profile=smoke"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def planned(root, *more):
    """What a dry run would do: the output that names rules and reasons."""
    result = snakemake(root, "book", "--dry-run", *more)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_book_has_every_chapter(book, checkout):
    chapters = sorted(path.stem for path in (checkout / "notebooks").glob("*.ipynb"))
    assert [(book / "notebooks" / f"{chapter}.html").exists() for chapter in chapters] == [True] * len(chapters)
    assert (book / "index.html").exists()


def test_executed_chapters_carry_their_stamp(book, checkout):
    for path in (checkout / "_build" / "chapters" / "smoke").glob("*.ipynb"):
        stamp = json.loads(path.read_text())["metadata"]["fcdd"]
        assert stamp["parameters"]["profile"] == "smoke"
        assert re.fullmatch(r"[0-9a-f]{64}", stamp["code"])


def test_every_chapter_has_its_figures(book, checkout):
    """The copy was built in a shell with MPLBACKEND=agg: stefan-jansen/machine-learning-for-trading#482; trial 14."""
    for path in (checkout / "_build" / "chapters" / "smoke").glob("*.ipynb"):
        drawn = path.read_text().count('"image/png"')
        page = (book / "notebooks" / f"{path.stem}.html").read_text()
        assert (drawn > 0 or path.stem in WORDS) and len(re.findall("<img [^>]*_images", page)) >= drawn, path.stem


def test_nothing_to_do_when_nothing_changed(book, checkout):
    assert "Nothing to be done" in planned(checkout)


def test_changed_file_reruns_what_depends_on_it_and_says_why(book, checkout):
    file = checkout / "fcdd" / "svdd.py"
    before, times = file.read_bytes(), file.stat()
    try:
        file.write_bytes(before + b"# changed\n")
        plan = planned(checkout)
        assert "fcdd/svdd.py" in plan and "pdated input files" in plan
        assert "_build/runs/smoke/fashion-mnist-small/svdd.csv" in plan
        assert "_build/chapters/smoke/01_svdd.ipynb" in plan
        assert "_build/html/index.html" in plan
        assert not re.search(r"output: _build/runs/smoke/fashion-mnist-small/(fcdd|hsc|deep-svdd)\.csv", plan)
        assert not re.search(r"output: _build/chapters/smoke/0[0245]_", plan)
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_comment_leaves_every_record_current_and_make_why_says_so(book, checkout):
    with changed(checkout / "fcdd" / "svdd.py", lambda text: text + b"# a comment\n"):
        command = ["make", "-s", "-o", ".venv/.stamp", "why", "PROFILE=smoke"]
        if not (checkout / ".venv").exists():
            (checkout / ".venv").symlink_to(sys.prefix)
        environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
        environment |= {"PYTHONPATH": str(checkout)}
        told = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert (
        "training svdd on fashion-mnist-small, profile smoke (0 of 2 runs to do): changed: fcdd/svdd.py" in told.stdout
    )
    assert any(line.startswith("executing chapter 01_svdd") for line in lines) and lines[-1].endswith("touched")
    assert re.search(r"^\d+ jobs would run, with 0 of \d+ runs to do; nothing was touched$", lines[-1])


OLD = (1_577_836_800,) * 2  # the first of January 2020


@contextmanager
def changed(file, change, times=None):
    """A file with other contents, and its old ones and their time afterwards."""
    before, stat = file.read_bytes(), file.stat()
    try:
        file.write_bytes(change(before))
        os.utime(file, times)
        yield
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def jobs(plan):
    """The rules of a dry run's table."""
    return set(re.findall(r"^(runs|ablation|chapter|demos|html) +\d+$", plan, re.MULTILINE))


def test_content_decides_and_not_dates(book, checkout):
    """snakemake#2011, #4134, #1694; trial 24: an update unpacked from a zip is older than what was built before."""
    sources = [
        file for room in ("notebooks", "book", "fcdd") for file in (checkout / room).rglob("*") if file.is_file()
    ]
    times = {file: file.stat() for file in sources}
    try:
        for when in (None, OLD):
            for file in sources:
                os.utime(file, when)
            assert jobs(planned(checkout)) <= {"html"}  # Snakemake compares no file above 1 MB that looks newer
        assert "Nothing to be done" in planned(checkout)
        with changed(checkout / "notebooks" / "00_anomalies.ipynb", lambda text: text.replace(b"camera", b"lens"), OLD):
            plan = planned(checkout)
            assert jobs(plan) == {"chapter", "html"} and "chapter 00_anomalies" in plan and "chapter 01" not in plan
        with changed(checkout / "book" / "preface.md", lambda text: text + b"\nOne more sentence.\n", OLD):
            assert jobs(planned(checkout)) == {"html"}
        with changed(checkout / "fcdd" / "svdd.py", lambda text: text + b"\nEXTRA = 1\n", OLD):
            assert {"runs", "chapter", "html"} <= jobs(planned(checkout))
    finally:
        for file, stat in times.items():
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "Nothing to be done" in planned(checkout)


def test_what_was_built_in_the_future_is_no_reason_to_keep_it(book, checkout):
    built = [file for file in (checkout / "_build").rglob("*") if file.is_file()]
    times = {file: file.stat() for file in built}
    try:
        for file in built:
            os.utime(file, (2_051_222_400,) * 2)  # the first of January 2035
        with changed(checkout / "notebooks" / "00_anomalies.ipynb", lambda text: text.replace(b"camera", b"lens")):
            assert "chapter 00_anomalies" in planned(checkout)
    finally:
        for file, stat in times.items():
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_chapter_edited_by_hand_is_made_again_and_does_not_enter_the_book(book, checkout):
    file = checkout / "_build" / "chapters" / "smoke" / "05_fcdd.ipynb"
    with changed(file, lambda text: text.replace(b'"0.', b'"1.')):
        plan = planned(checkout)
        assert "chapter 05_fcdd" in plan and "chapter 00" not in plan and file.exists()
        command = [sys.executable, "-m", "fcdd", "study", "render", "--profile", "smoke"]
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1 and "05_fcdd: it was changed by hand since it ran" in result.stderr


def test_gate_refuses_a_stale_chapter(book, checkout):
    file = checkout / "notebooks" / "00_anomalies.ipynb"
    before, times = file.read_bytes(), file.stat()
    try:
        file.write_bytes(before.replace(b"What is an anomaly?", b"What is it?"))
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        command = [sys.executable, "-m", "fcdd", "study", "render", "--profile", "smoke"]
        result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert "00_anomalies: stale: its source changed since it ran" in result.stderr
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_second_build_at_once_is_refused(book, checkout):
    with FileLock(checkout / "_build" / "graph.lock"):
        result = snakemake(checkout, "study")
    assert result.returncode != 0
    assert "another build is running" in result.stdout + result.stderr


def test_papermill_by_hand_refuses_unknown_parameters(checkout, tmp_path):
    command = [
        sys.executable,
        "-m",
        "papermill",
        "notebooks/00_anomalies.ipynb",
        str(tmp_path / "out.ipynb"),
        "-p",
        "profil",
        "smoke",
    ]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "unknown parameters profil; this chapter knows device, normal, profile, seed" in result.stderr

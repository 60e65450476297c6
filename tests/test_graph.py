"""The graph in a copy of the project, in a folder whose name holds a space: built, changed. Kills: test_engine.py."""

import json
import os
import re
import subprocess
import sys

from filelock import FileLock


def snakemake(root, *arguments):
    """The graph of the copy in profile smoke, called as the Makefile does."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--scheduler", "greedy"]
    command += ["--rerun-incomplete", "--nolock", "--config", "profile=smoke"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def planned(root):
    """What a dry run would do: the output that names rules and reasons."""
    result = snakemake(root, "book", "--dry-run")
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

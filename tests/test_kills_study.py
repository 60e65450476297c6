"""`make study` and `make book` interrupted and killed: nothing finished is lost, nothing half-made stays, they go on.

Kills are SIGKILL to the whole process group, at moments from a seed that is printed.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from fcdd_study import protocol, records

pytestmark = pytest.mark.slow
SEED, KILLS = 18, 6  # of each command
DATASET = "fashion-mnist-small"
STUDY = ("study", f"DATASETS={DATASET}")
METHODS = "METHODS=" + ",".join(protocol.profile("smoke", DATASET)["methods"])  # what the book trains: no ablations
BEGUN = re.compile(r"^(training|executing|ablation|figures|rendering)\b", re.MULTILINE)
UNWANTED = re.compile(r"Traceback|KeyboardInterrupt|RuleException|CalledProcessError|WorkflowError|Terminating|jobid")


@pytest.fixture
def copied(copy_project, tmp_path):
    """A copy of the project whose .venv is the one these tests run in."""
    root = copy_project(tmp_path / "a b")
    (root / ".venv").symlink_to(sys.prefix)
    return root


def started(root, *arguments):
    """make in profile smoke, in a process group of its own; what it says goes to a file."""
    plain = {key: value for key, value in os.environ.items() if key not in ("TQDM_DISABLE", "MAKEFLAGS", "MPLBACKEND")}
    environment = plain | {"PYTHONPATH": str(root), "COLUMNS": "80"}
    command = ["make", "-o", ".venv/.stamp", "PROFILE=smoke", *arguments]
    with said(root).open("w") as file:
        return subprocess.Popen(
            command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
        )  # fmt: skip


def said(root) -> Path:
    return root.parent / f"{root.name} says.txt"


def made(root, *arguments) -> str:
    """What make said; it must end well."""
    code = started(root, *arguments).wait()
    assert code == 0, said(root).read_text()
    return said(root).read_text()


def begun(root, process, pattern=BEGUN) -> bool:
    """Waits until make has said that a job begins; whether it runs then."""
    while process.poll() is None and not pattern.search(said(root).read_text()):
        time.sleep(0.1)
    return process.poll() is None


def killed(root, arguments, moment) -> bool:
    """Starts make and kills it so many seconds after its first job began; whether it still ran."""
    process = started(root, *arguments)
    begun(root, process)
    end = time.monotonic() + moment
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL), said(root).read_text()
    return alive


def found(root) -> dict:
    """Run → what its record says, but for times and dates, and when its file was written."""
    paths = (root / "_build" / "records").rglob("*.json")
    told = {path: records.read(path) for path in paths}
    return {record["run"]["id"]: ({key: value for key, value in record.items() if key not in ("seconds", "date")},
                                  path.stat().st_mtime_ns) for path, record in told.items()}  # fmt: skip


def numbers(root) -> dict:
    return {run: told for run, (told, _) in found(root).items()}


def left_behind(root, done=True) -> list[str]:
    """What must not be left: halves of files, locks that are held, processes; and once all is ``done``, Snakemake's
    notes of what is under way."""
    build = root / "_build"
    halves = [path for path in build.rglob("*") if re.search(r"\.part\b|\.failed\.|\.tmp$", path.name)]
    notes = [path for path in (root / ".snakemake" / "incomplete").rglob("*") if done and path.is_file()]
    for lock in build.rglob("*.lock"):
        with FileLock(lock, timeout=0):  # raises Timeout if it is held
            pass
    return [str(path.relative_to(root)) for path in halves + notes] + ended(root)


def ended(root, seconds=30) -> list[str]:
    """Processes that still work in a folder: a kernel sees only after a second that its parent is gone."""
    end = time.monotonic() + seconds
    while running := [" ".join(each.cmdline()) for each in psutil.process_iter() if _works_in(root, each)]:
        if time.monotonic() > end:
            return running
        time.sleep(0.5)
    return []


def _works_in(root, process) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(root) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kills(root, arguments, chance) -> list[float]:
    """Kills make KILLS times; whatever was finished must outlive it. When nothing is left to do, half of the records
    are taken away."""
    moments = []
    while len(moments) < KILLS:
        before, moment = found(root), round(chance.uniform(0, 20), 1)
        if killed(root, arguments, moment):
            moments.append(moment)
            after = found(root)
            assert {run: after.get(run) for run in before} == before
        else:
            paths = sorted((root / "_build" / "records").rglob("*.json"))
            for path in chance.sample(paths, len(paths) // 2):
                path.unlink()
    return moments


# ---- kills ----


def test_a_study_that_is_killed_six_times_gives_the_same_records(book, checkout, copied):
    print(f"seed {SEED}, seconds after the first job began: {kills(copied, (*STUDY, METHODS), random.Random(SEED))}")
    made(copied, *STUDY, METHODS)
    reference, ours = numbers(checkout), numbers(copied)
    assert ours and ours == {run: reference[run] for run in ours}
    assert left_behind(copied) == []
    assert "nothing to be done" in made(copied, *STUDY, METHODS)


def test_a_book_that_is_killed_six_times_gives_the_same_records(book, checkout, copied):
    print(f"seed {SEED + 1}, seconds after the first job began: {kills(copied, ['book'], random.Random(SEED + 1))}")
    made(copied, "book")
    assert numbers(copied) == numbers(checkout)
    assert left_behind(copied) == []
    pages = {path.name for path in (copied / "_build" / "html" / "notebooks").glob("*.html")}
    assert pages == {path.name for path in (book / "notebooks").glob("*.html")}
    assert "nothing to be done" in made(copied, "book")


# ---- interrupts ----


def interrupted(root, arguments, times, pattern=BEGUN) -> str:
    """Presses Ctrl-C a second after a job began, so often; returns what was said."""
    process = started(root, *arguments)
    assert begun(root, process, pattern), said(root).read_text()
    for pause in (1, 0.5)[:times]:
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) != 0
    return said(root).read_text()


def well_said(text) -> bool:
    """It ends quietly: one line on what happens, one on what is kept, and make's own."""
    *_, blank, kept, of_make = text.splitlines()
    assert not UNWANTED.search(text) and "failed" not in text, text
    return (
        "interrupted; what runs is being ended" in text and kept.startswith("kept: ") and of_make.startswith("make: ")
    )


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_study_quietly_and_it_goes_on(copied, times):
    """snakemake#2919, #1871; trial 19."""
    part = (*STUDY, "METHODS=kde,deep-svdd", "CLASSES=Ankle boot")
    made(copied, *STUDY, "METHODS=kde", "CLASSES=Ankle boot")
    before = found(copied)
    assert well_said(interrupted(copied, part, times, re.compile("training deep-svdd")))
    assert left_behind(copied, done=False) == [] and {run: found(copied).get(run) for run in before} == before
    made(copied, *part)
    assert left_behind(copied) == [] and {run: found(copied).get(run) for run in before} == before
    assert f"smoke/{DATASET}/deep-svdd/ankle-boot-seed0" in found(copied)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_book_quietly_and_it_goes_on(book, checkout, copied, times):
    """While chapters run, whose kernels are interrupted, too."""
    for name in ("_build", ".snakemake"):
        shutil.copytree(checkout / name, copied / name, dirs_exist_ok=True)
    (copied / "_build" / "chapters" / "smoke" / "05_fcdd.ipynb").unlink()
    before = found(copied)
    assert well_said(interrupted(copied, ["book"], times, re.compile("executing chapter 05")))
    assert left_behind(copied, done=False) == []
    assert "training" not in made(copied, "book")
    assert left_behind(copied) == []
    assert found(copied) == before and (copied / "_build" / "chapters" / "smoke" / "05_fcdd.ipynb").exists()


def test_ctrl_c_before_anything_began(copied):
    process = started(copied, *STUDY)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    assert not UNWANTED.search(text := said(copied).read_text()) and "interrupted; nothing was begun" in text

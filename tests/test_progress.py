"""What a build says while it runs and at its end, from a stream of Snakemake's events; cores asked of Slurm."""

import io
import json
import logging
import os
import re
import signal

import pytest
from rich.console import Console

from fcdd_study import graph, progress, slurm

FILES = ["_build/runs/smoke/a/kde.csv", "_build/runs/smoke/a/fcdd.csv", "_build/chapters/smoke/00.ipynb"]


@pytest.fixture
def clock(monkeypatch):
    """A clock to be set."""
    now = [0.0]
    monkeypatch.setattr(progress, "_now", lambda: now[0])
    return now


@pytest.fixture
def build(tmp_path, clock):
    """Makes a build's progress, which writes to no terminal, a function that tells it of an event, and what it says."""

    def make(**before):
        (tmp_path / "seconds.json").write_text(json.dumps(before))
        said = io.StringIO()
        console = Console(file=said, width=200)
        shown = progress.Progress(lambda: FILES, tmp_path / "seconds.json", console)

        def event(name, **fields):
            record = logging.makeLogRecord({"event": name, "msg": "", "levelno": logging.INFO, **fields})
            shown.emit(record)

        return shown, event, said

    return make


def begins(event, number, about, log="none"):
    event("job_info", jobid=number, rule_msg=about, output=[FILES[number]], log=[log])


def test_each_job_is_said_with_how_many_remain_and_the_time_left(build, clock):
    shown, event, said = build()
    event("run_info")
    begins(event, 0, "training kde")
    clock[0] = 30
    event("job_finished", job_id=0)
    begins(event, 1, "training fcdd")
    assert said.getvalue().splitlines() == [
        "training kde (3 of 3 to do)",  # nothing is known yet
        "training fcdd (2 of 3 to do, about 1 min left)",
    ]


def test_the_time_left_is_that_of_the_last_build_less_what_has_passed(build, clock):
    shown, event, said = build(**{FILES[0]: 100.0, FILES[1]: 200.0, FILES[2]: 60.0})
    event("run_info")
    begins(event, 0, "training kde")
    assert shown.left() == 360
    clock[0] = 40
    assert shown.left() == 320
    begins(event, 1, "training fcdd")
    assert shown.left() == max((60 + 200 + 60) / 2, 200)  # two at once, but the longest is not split
    clock[0] = 10_000
    assert shown.left() == 30  # what takes longer than it did is about to end, as far as one knows


def test_the_bar_in_a_job_s_log_is_read(build, clock, tmp_path):
    shown, event, said = build()
    event("run_info")
    log = tmp_path / "log.txt"
    log.write_text("smoke runs:   0%| | 0/4 [00:00<?, ?run/s]\rsmoke runs:  25%|##| 1/4 [00:10<00:30, fcdd]\r")
    begins(event, 1, "training fcdd", str(log))
    assert shown._line().plain == "training fcdd (1 of 4 runs) · 3 of 3 to do"
    begins(event, 0, "training kde")
    clock[0] = 10
    event("job_finished", job_id=0)
    assert shown.left() == max((3 * 10 + 10) / 2, 3 * 10)  # three runs as long as the first, and a job as the other


def test_what_took_how_long_is_kept_for_the_next_build(build, clock, tmp_path):
    shown, event, said = build(**{FILES[2]: 60.0})
    event("run_info")
    begins(event, 0, "training kde")
    clock[0] = 12
    event("job_finished", job_id=0)
    shown.close()
    assert json.loads((tmp_path / "seconds.json").read_text()) == {FILES[0]: 12.0, FILES[2]: 60.0}


@pytest.mark.parametrize("text", ["", "{", "[1"])
def test_a_damaged_note_of_seconds_stops_no_build(tmp_path, text):
    (tmp_path / "seconds.json").write_text(text)
    assert progress.Progress(list, tmp_path / "seconds.json").left() is None


# ---- the end ----


@pytest.mark.parametrize("log, reason, lines", [
    ("a\nerror: no data\nwhere it was looked for\n", "", ["error: no data", "where it was looked for"]),
    ("a\nb\n", "", ["b"]),
    ("50%|#| 1/2 [00:01<00:01]\rlast", "", ["last"]),
    ("", "SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'. ",
     [progress.NOTHING, "SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'. "]),
    (None, "SLURM-job '7' failed, SLURM status is: 'CANCELLED'. ",
     [progress.NOTHING, "SLURM-job '7' failed, SLURM status is: 'CANCELLED'. "]),
])  # fmt: skip
def test_what_failed_is_reported_with_its_log_and_its_reason(build, tmp_path, log, reason, lines):
    shown, event, said = build()
    event("run_info")
    path = tmp_path / "log.txt"
    if log is not None:
        path.write_text(log)
    begins(event, 0, "training kde", str(path))
    message = reason and f"{reason}For further error details see the cluster/cloud log and the log files."
    event("job_error", jobid=0, rule_msg=message, log=[str(path), "slurm.log"])
    assert shown.report() == [
        "of 1 jobs 1 failed; what the others made is kept:",
        "",
        f"{path} ends with",
        *(f"  {line}" for line in lines),
        "  more in slurm.log",
    ]
    assert shown.counted() == "2 of 3 to do"


def test_what_an_interrupt_ends_has_not_failed(build, tmp_path):
    """What had failed before is still told."""
    shown, event, said = build()
    event("run_info")
    begins(event, 0, "training kde")
    event("job_finished", job_id=0)
    begins(event, 1, "training fcdd")
    shown.interrupt()
    event("job_error", jobid=1, rule_msg="", log=["none"])
    kept = "kept: jobs that had ended (1) and each record in _build/records; the same command goes on from there"
    assert shown.report() == [kept] and "interrupted; what runs is being ended" in said.getvalue()
    shown.failed.append(progress.Failure("none", ""))
    assert shown.report()[0].startswith("of 2 jobs 1 failed") and shown.report()[-2:] == ["", kept]


def test_a_second_interrupt_is_passed_over():
    told = []
    handler = graph.once(lambda: told.append("interrupted"))
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, None)
    handler(signal.SIGINT, None)
    assert told == ["interrupted"]


def test_halves_that_a_kill_left_are_removed_and_nothing_else(tmp_path):
    gone = "runs/a/.kde.csv-01234567.part", "chapters/smoke/00.part.ipynb", "demos/a/.svdd.png-01234567.part"
    stays = "runs/a/kde.csv", "chapters/smoke/00.ipynb", "records/a/.other-01234567.part", "chapters/00.edited.ipynb"
    for name in gone + stays:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    graph.remove_halves(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(stays)


def test_snakemake_s_own_words_are_left_out_but_for_warnings_and_errors():
    told, logger = [], logging.getLogger("test_progress")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger.addHandler(handler)
    progress.follow(logger, logging.NullHandler())
    logger.info("Building DAG of jobs...")
    logger.error("Error in rule runs, jobid: 1", extra={"event": "job_error"})
    logger.error("WorkflowError:\nAt least one job did not complete successfully.")
    logger.error("Exiting because a job execution failed. Look above for error messages")
    logger.error("unknown class 'Hat'")
    logger.warning("the disk is full")
    assert told == ["unknown class 'Hat'", "the disk is full"]


@pytest.mark.parametrize("seconds, text", [
    (3, "less than a minute"), (70, "about 1 min"), (720, "about 12 min"), (7 * 3600, "about 7 h"),
])  # fmt: skip
def test_times_are_spoken(seconds, text):
    assert progress.spoken(seconds) == text


# ---- cores ----


@pytest.mark.parametrize("answer, cores", [("2\n2\n", 2), ("1\n64\n", 4), ("", 4), (None, 4)])
def test_slurm_is_asked_for_no_more_cores_than_a_node_has(tmp_path, monkeypatch, answer, cores):
    options = tmp_path / "config.yaml"
    options.write_text("executor: slurm\ndefault-resources:\n  slurm_partition: \"'small'\"\n")
    program = tmp_path / "sinfo"
    end = "exit 1" if answer is None else f"printf '{answer}'"
    program.write_text(f'#!/bin/sh\necho "$*" > "{tmp_path}/asked"\n{end}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert slurm.cores(options) == cores
    assert re.search("--partition=small", (tmp_path / "asked").read_text())


def test_without_slurm_each_job_has_one_core(tmp_path):
    (tmp_path / "config.yaml").write_text("executor: cluster-generic\n")
    assert slurm.cores(tmp_path / "config.yaml") == 1

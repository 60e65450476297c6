"""What `make why` says of a dry run, from Snakemake's events; that text makes no record stale is in test_graph.py."""

import logging

import pytest

from fcdd_study import why

ONE, TWO = "1" * 64, "2" * 64
UNION = "Params have changed since last execution: Union of exclusive params before and now across all output: "


@pytest.mark.parametrize("reason, text", [
    ("Missing output files: _build/runs/full/mnist/kde.csv", "not made yet"),
    ("Updated input files: fcdd/svdd.py, fcdd/auto.py", "changed: fcdd/svdd.py, fcdd/auto.py"),
    ("Input files updated by another job: a.csv, b.csv", "what it is made from is made again"),
    ("Missing output files: a; Code has changed since last execution", "not made yet; its command has changed"),
    (f"{UNION}before: '{ONE}' now: '{TWO}' ", "the contents behind it have changed"),
    (f"{UNION}before: {ONE} now: {TWO} ", "the contents behind it have changed"),
    (f"{UNION}before: [] now: ['smoke/a/kde/bag-seed0'] ", "was [], is ['smoke/a/kde/bag-seed0']"),
    (f"{UNION}before: '{ONE}',7 now: <nothing exclusive> ", "the contents behind it have changed; was 7, is nothing"),
    (f"{UNION}before: {'x' * 300} now: 1 ", f"was {'x' * why.LONGEST} …, is 1"),
    ("Forced execution", "Forced execution"),
])  # fmt: skip
def test_reasons_in_plain_words(reason, text):
    assert why.plain(reason) == text


def told(*events, runs_of=lambda rule, wildcards: None):
    shown = why.Why(runs_of)
    for fields in events:
        shown.emit(logging.makeLogRecord({"msg": "", "levelno": logging.INFO, **fields}))
    return shown.report()


def job(about, priority, rule="runs", **more):
    fields = {"event": "job_info", "rule_msg": about, "rule_name": rule, "priority": priority, "output": ["a.csv"]}
    return fields | {"wildcards": {"dataset": "mnist"}, "reason": "Missing output files: a.csv"} | more


def test_jobs_are_told_in_their_order_with_the_runs_that_are_left():
    lines = told(
        job("training kde", 1), {"event": "run_info"}, job("training fcdd", 5), job("all", 0, "study", output=[]),
        job("rendering", 0, "html"), runs_of=lambda rule, wildcards: (10, 4) if rule == "runs" else None,
    )  # fmt: skip
    assert lines == [
        "training fcdd (4 of 10 runs to do): not made yet",
        "training kde (4 of 10 runs to do): not made yet",
        "rendering: not made yet",
        "",
        "3 jobs would run, with 8 of 20 runs to do; nothing was touched",
    ]


def test_where_nothing_is_to_be_done_it_says_so_and_an_error_is_not_followed_by_it():
    assert told({"msg": "Nothing to be done (all requested files are present and up to date)."}) == [
        "Nothing to be done: all is up to date"
    ]
    assert told() == []

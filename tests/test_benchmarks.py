"""The benchmarks at tiny sizes: they run, compare what they say, and become tables, a picture and a page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks import (
    arithmetic,
    command,
    compare,
    constructors,
    defects,
    epoch,
    false_alarms,
    hardware,
    pixel_auroc,
    report,
    upsampling,
)
from benchmarks.compare import Comparison, Fact, Limit, Measured
from fcdd import receptive
from fcdd.datasets.mvtec import find_category

ROOT = Path(__file__).parents[1]


def call(*arguments):
    app = program.typer.Typer()
    app.command()(program.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# ---- measuring ----


def clock(name, seconds, log):
    """A side that takes the given seconds, one after another."""
    left = iter(seconds)

    def side():
        log.append(name)
        return Measured(next(left), name)

    return side


def test_sides_take_turns_and_only_the_faster_peer_is_repeated():
    log = []
    peers = {"slow": clock("slow", [9], log), "fast": clock("fast", [8, 2, 6], log)}
    facts = lambda ours, peer: [Fact(f"{ours} and {peer}", 0.5, 1.0)]  # noqa: E731
    comparison = Comparison("one", "One", clock("ours", [1, 2, 4], log), peers, 2.0,
                            lambda peaks, ours: Limit(peaks["float32"], f"limit of {ours}"), facts)  # fmt: skip
    steps = []
    record = compare.measure(comparison, 3, {"float32": 0.5}, lambda: steps.append(1))
    assert log == ["ours", "slow", "fast", "ours", "fast", "ours", "fast"]
    assert len(steps) == len(log) == compare.calls(comparison, 3)
    assert record["ours"] == [1, 2, 4] and record["peers"] == {"slow": [9], "fast": [8, 2, 6]}
    assert record["peer"] == "fast" and record["ratio"] == 6 / 2
    assert record["facts"] == [{"what": "ours and fast", "value": 0.5, "most": 1.0}]
    assert record["limit"] == {"seconds": 0.5, "what": "limit of ours", "share": 0.25}


def test_long_ones_are_repeated_less_and_some_have_no_peer():
    log = []
    comparison = Comparison("one", "One", clock("ours", [1], log), {}, times=1)
    assert compare.measure(comparison, 3, {})["ours"] == [1] and compare.calls(comparison, 3) == 1


def test_flops_are_those_of_the_formula():
    a, b = torch.rand(3, 4), torch.rand(4, 5)
    assert hardware.flops(lambda: a @ b) == 2 * 3 * 4 * 5
    assert all(peak > 0 for peak in hardware.peaks("cpu", True).values())


def test_dense_upsampling_is_that_of_the_library():
    maps = torch.rand(2, 1, 7, 7)
    field = receptive.ReceptiveField(extent=11, stride=4, offset=2.0)
    wanted = upsampling.dense(maps, field, 28, 2.0)
    torch.testing.assert_close(receptive.upsample(maps, field, 28, 2.0), wanted, atol=1e-5, rtol=1e-5)


def test_pixels_have_the_promised_size_and_share_of_defects():
    masks, maps = pixel_auroc.pixels(4, 60)
    assert masks.shape == maps.shape == (4, 60, 60) and maps.dtype == np.float32
    assert masks.mean() == pytest.approx(1 / 30, rel=0.1)


# ---- the whole ----


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """All comparisons, tiny."""
    folder = tmp_path_factory.mktemp("benchmarks")
    told = call("--quick", "--device", "cpu", "--repetitions", 1, "--folder", folder)
    assert told.exit_code == 0, (told.output, told.exception)
    assert (folder / "benchmarks.png").stat().st_size > 1000 and "Ours" in told.output
    return json.loads((folder / "benchmarks.json").read_text())


def test_every_comparison_is_there(result):
    names = [each["name"] for each in result["comparisons"]]
    assert len(set(names)) == len(names) and {name.rsplit("-", 1)[0] for name in names} >= {"epoch", "pixel", "stacked"}
    assert {"memory-fcdd_cnn224", "upsampling", "upsampling-gradient", "one-class-svm-200"} <= set(names)
    assert "fashion-mnist-table" in names
    for each in result["comparisons"]:
        assert np.isfinite([*each["ours"], each["ratio"]]).all()
        if not each["name"].startswith("memory-"):  # a ratio between two ways of the system, without a limit
            assert np.isfinite(each["limit"]["share"])
        assert each["ours"][0] > 0 and each["peers"][each["peer"]][0] >= 0
    assert result["hardware"]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert result["device"] == "cpu" and result["quick"] and set(result["peaks"]) == set(hardware.DTYPES)


def test_the_seconds_of_an_epoch_are_divided(result):
    """No kind of work is missing in either way: the profiler's names for them are still those that are looked for."""
    tables = report.parts(result)
    assert len(tables) == 2
    for what, table in tables.items():
        assert list(table.index) == ["ours", "one image at a time"]
        assert list(table.columns) == ["making batches", *epoch.KINDS, "the rest"]
        assert (table.drop(columns="the rest") > 0).all().all() and (table["the rest"] >= 0).all()
        assert what in report.parts_description(result)


@pytest.mark.parametrize("what", ["difference of the AUROCs", "relative difference of the dual values",
                                  "largest difference"])  # fmt: skip
def test_both_sides_agree(result, what):
    found = [fact for each in result["comparisons"] for fact in each["facts"] if fact["what"] == what]
    assert found and all(fact["value"] <= fact["most"] for fact in found)


def test_tables_hold_all(result):
    rows, facts = report.rows(result), report.facts(result)
    assert [row[0] for row in rows] == [each["what"] for each in result["comparisons"]]
    assert all(len(row) == len(report.HEADINGS) for row in rows) and all(len(row) == len(report.FACTS) for row in facts)
    assert all(row[0] in report.description(result) for row in rows)


@pytest.mark.parametrize("value, text", [
    (7300, "2.03 h"), (3600, "60 min"), (119, "119 s"), (0.35, "350 ms"), (0.0012, "1.2 ms"), (5e-6, "5 µs"),
])  # fmt: skip
def test_seconds_are_told_in_a_unit_that_suits(value, text):
    assert report.seconds(value) == text


def test_a_missed_goal_is_told():
    slow = {"name": "a", "what": "A", "ours": [2.0], "goal": 3.0, "peer": "b", "peers": {"b": [1.0]}, "ratio": 0.5}
    assert report.rows({"comparisons": [slow]}) == [["A", "2 s", "1 s (b)", "0.5×", "3×, missed", "–"]]


@pytest.mark.parametrize("goal, ours, theirs, told", [
    (1.0, [1.0, 1.1, 1.2], [1.0, 1.05, 1.1], "1×, reached"),  # the same, as far as can be told
    (1.0, [1.2, 1.3, 1.4], [1.0, 1.1, 1.15], "1×, missed"),
    (1.0, [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], "1×, reached"),
    (3.0, [1.0, 1.1, 1.2], [2.9, 3.0, 3.7], "3×, missed"),
])  # fmt: skip
def test_not_slower_is_told_from_slower(goal, ours, theirs, told):
    each = {"name": "a", "what": "A", "ours": ours, "goal": goal, "peer": "b", "peers": {"b": theirs}}
    ((*_, wanted, _),) = report.rows({"comparisons": [each | {"ratio": theirs[1] / ours[1]}]})
    assert wanted == told


@pytest.mark.parametrize("arguments, told", [
    (("--only", "epochs"), f"expected some of {', '.join(program.PARTS)}, got epochs"),
    (("--record", "--quick"), "a record is of all comparisons at full size"),
    (("--record", "--only", "epoch"), "a record is of all comparisons at full size"),
])  # fmt: skip
def test_wrong_usage(arguments, told):
    result = call(*arguments)
    assert result.exit_code == 2 and told in " ".join(result.output.replace("│", " ").split())


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert "device 'cuda' cannot be used here" in str(call("--device", "cuda", "--quick").exception)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    program.write({"a": 1}, tmp_path / "new" / "a.json")
    with pytest.raises(TypeError):
        program.write({"a": object()}, tmp_path / "new" / "a.json")
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"a": 1}


# ---- the page ----


@pytest.fixture
def page(tmp_path, sphinx):
    """Builds a page with the directive; returns its HTML and the warnings."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("# Title\n\n```{benchmarks} cpu\n```\n\n```{benchmark-parts} cpu\n```\n")

    def built():
        (html,), warnings = sphinx(
            ["index"], extensions=["myst_parser", "fcdd_benchmarks"], fcdd_benchmarks=str(tmp_path / "records")
        )
        return html, warnings

    return built


def test_page_says_how_to_make_a_record_and_shows_it_once_there(page, result, tmp_path):
    html, warnings = page()
    assert "make bench DEVICE=cpu RECORD=1" in html and "<table" not in html
    program.write(result, tmp_path / "records" / "cpu.json")
    html, warnings = page()
    assert "index.md" not in warnings
    assert html.count("<table") == 2 and html.count("<img") == 2
    assert all(each["what"] in html for each in result["comparisons"])
    pictures = {"benchmarks": report.description, "benchmark-parts": report.parts_description}
    for name, words in pictures.items():
        assert words(result)[:40] in html and (tmp_path / "out" / "_images" / f"{name}-cpu.svg").exists()


def test_page_shows_a_record_without_profiles(page, result, tmp_path):
    compared = [{key: value for key, value in each.items() if key != "parts"} for each in result["comparisons"]]
    program.write(result | {"comparisons": compared}, tmp_path / "records" / "cpu.json")
    html, warnings = page()
    assert "index.md" not in warnings and html.count("<img") == 1


RECORDS = sorted(ROOT.glob("benchmarks/records/*.json"))
TABLES = {"false-alarms": false_alarms, "arithmetic": arithmetic, "defects": defects}
TABLES |= {"constructors": constructors, "command": command}


OF_DEVICES = [path for path in RECORDS if path.stem not in (*TABLES, "how-many", "tour")]


@pytest.mark.parametrize("path", OF_DEVICES, ids=lambda path: path.stem)
def test_committed_records_are_whole(path):
    result = report.read(path.stem)
    assert not result["quick"] and result["device"] == path.stem
    assert {each["name"].split("-")[0] for each in result["comparisons"]} >= {"epoch", "stacked", "one", "pixel"}
    assert report.rows(result) and "/" not in result["hardware"]["processor"]


# ---- tables of one measurement ----


LONG = ("command", "defects", "constructors")  # a minute and more each, also when quick
MEASURED = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in TABLES]


@pytest.mark.parametrize("name", MEASURED)
def test_a_measurement_runs_and_its_page_shows_it(name, tmp_path, monkeypatch, sphinx):
    module = TABLES[name]
    if name == "command" and find_category("bottle") is None:
        pytest.skip("MVTec-AD's bottle is not where data lies")
    monkeypatch.setattr(module, "RECORD", tmp_path / f"{name}.json")
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(f"# Title\n\n```{{{name}}}\n```\n")
    book = {"extensions": ["myst_parser", "fcdd_benchmarks"], "fcdd_benchmarks": str(tmp_path)}
    (html,), _ = sphinx(["index"], **book)
    command = f"python -m benchmarks.{name.replace('-', '_')} --record"
    assert command in re.sub("<[^>]+>", "", html) and "<table" not in html
    module.main(quick=True, record=True)
    (html,), warnings = sphinx(["index"], **book)
    result = json.loads(module.RECORD.read_text())
    assert "index.md" not in warnings and html.count("<tr") == 1 + len(module.rows(result))
    assert all(cell in html for row in module.rows(result) for cell in row)


def test_thresholds_keep_their_rate():
    """The committed record: each method's mean rate, and how many of twenty lie where 90 % of calibrations put them."""
    if not false_alarms.RECORD.exists():
        pytest.skip("no record of false alarms")
    result = json.loads(false_alarms.RECORD.read_text())
    low, high = result["interval"]
    assert len(result["methods"]) == 5 and (low, high) == false_alarms.interval(result["calibrated"], result["new"])
    for name, counts in result["methods"].items():
        found = np.array(counts["calibrated"])
        assert 0.04 <= found.mean() / result["new"] <= 0.06, name
        assert len(found) == 20 and ((low <= found) & (found <= high)).sum() >= 17, name

"""The page on one's own images: its commands exist, and what was recorded is shown, or how to record it."""

import json
import re
import tarfile
from contextlib import nullcontext
from statistics import fmean

import pytest
from typer.testing import CliRunner

from benchmarks import defects, how_many, tour
from fcdd import cli
from fcdd.datasets.piped import SMALL

RUNS = [
    {"set": name, "good": good, "defects": defects, "seed": seed, "seconds": 4.0, "auroc": 0.9 + seed / 100,
     "pixel_auroc": 0.95, "false_alarms": 0.25, "missed": 0.0}
    for name, good, defects in (("zpb01", 5, 0), ("zpb01", 32, 0), ("zpb01", 32, 3), ("bottle", 100, 0))
    for seed in (0, 1)
]  # fmt: skip


def test_rows_by_good_images_and_by_defects():
    result = {"rows": RUNS, "seeds": 2, "fpr": 0.05, "complete": True}
    few, shown = how_many.rows(result), how_many.with_masks.rows(result)
    assert [row[:3] for row in few] == [["zpb01", "5", "0"], ["zpb01", "32", "0"], ["bottle", "100", "0"]]
    assert [row[:3] for row in shown] == [["zpb01", "32", "0"], ["zpb01", "32", "3"]]
    assert few[0][3:] == ["0.905 (0.900–0.910)", "0.950 (0.950–0.950)", "25 %", "0 %", "4"]
    assert len(how_many.headings(result)) == len(few[0]) and "5%" in how_many.words(result)
    assert "some rows are missing" in how_many.words(result | {"complete": False})
    assert "missing" not in how_many.words(result)


def test_a_stopped_record_is_continued_and_a_whole_one_made_anew(tmp_path, monkeypatch):
    started_with = []

    def measure(done):
        started_with.append(done := list(done))
        yield from [row for row in RUNS if row not in done][:3]
        if len(done) < 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(how_many, "measure", measure)
    monkeypatch.setattr(how_many, "RECORD", tmp_path / "how-many.json")
    kept = []
    for stops in (True, True, False, True):
        with pytest.raises(KeyboardInterrupt) if stops else nullcontext():
            how_many.main(record=True)
        kept.append(json.loads(how_many.RECORD.read_text(encoding="utf-8")))
    assert started_with == [[], RUNS[:3], RUNS[:6], []]
    assert [result["complete"] for result in kept] == [False, False, True, False]
    assert [result["rows"] for result in kept] == [RUNS[:3], RUNS[:6], RUNS, RUNS[:3]]


@pytest.mark.parametrize("step", tour.STEPS)
def test_commands_of_the_page_exist(step):
    program, *words = tour.STEPS[step].split()
    names = words[:2] if words[0] == "data" else words[:1]
    told = CliRunner().invoke(cli.app, [*names, "--help"], env={"COLUMNS": "200"})
    assert program == "fcdd" and told.exit_code == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", told.output)
    assert all(word in text for word in words if word.startswith("--"))


def test_the_record_says_what_the_page_says_of_few_images():
    runs = json.loads(how_many.RECORD.read_text(encoding="utf-8"))["rows"]

    def mean(what, *key):
        return fmean(run[what] for run in runs if (run["set"], run["good"], run["defects"]) == key)

    for name, enough in (("flr01", 10), ("zpb01", 10), ("bottle", 100)):
        counts = sorted({run["good"] for run in runs if run["set"] == name})
        assert abs(mean("pixel_auroc", name, 5, 0) - mean("pixel_auroc", name, counts[-1], 0)) < 0.005
        assert mean("missed", name, 5, 0) > 0.3
        few = [mean("missed", name, count, 0) < 0.1 for count in counts]
        assert few == [count >= enough for count in counts]
    shown = {(name, n): mean("pixel_auroc", name, 32, n) for name in ("flr01", "zpb01") for n in (0, 3, 8)}
    assert all(shown[name, 8] > shown[name, 0] for name in ("flr01", "zpb01"))
    assert [shown[name, 3] < shown[name, 0] for name in ("flr01", "zpb01")] == [False, True]


def test_the_record_says_what_the_page_says_of_screws():
    sets = json.loads(defects.RECORD.read_text(encoding="utf-8"))["sets"]

    def image(name, detector):
        return defects.mean(sets[name]["detectors"][f"{detector}()"], "image")

    assert min(sets, key=lambda name: image(name, "FCDD")) == defects.TURNED
    assert image("screw", "FCDD") < 0.7 < image("screw", "PatchNeighbours")
    assert all(image(defects.TURNED, name) < image("screw", name) for name in ("FCDD", "PatchNeighbours"))
    assert defects.mean(sets["screw"]["detectors"]["FCDD()"], "pixel") > 0.9


def test_files_that_the_page_names_are_in_the_package():
    page = (tour.ROOT / "book" / "your_images.md").read_text(encoding="utf-8")
    named = set(re.findall(r"papers/(gla01_tl/\S+\.\w{3})\b", " ".join([page, *tour.STEPS.values()])))
    named |= {f"gla01_tl/{name}" for name in re.findall(r"^  (\w+/\S+\.\w{3}) ", page, re.M)}
    with tarfile.open(SMALL) as packed:
        assert named and {f"piped/{name}" for name in named} <= set(packed.getnames())


def test_the_committed_walk_is_of_the_commands_of_today():
    if not tour.RECORD.exists():
        pytest.skip("no record of the walk")
    text = tour.RECORD.read_text(encoding="utf-8")
    assert {name: step["command"] for name, step in json.loads(text)["steps"].items()} == tour.STEPS
    assert "/tmp/" not in text and "/home/" not in text


def test_what_a_step_said_is_shortened():
    step = {"said": "one line\n" + "word " * 60, "printed": "".join(f"row {k}\n" for k in range(30))}
    lines = tour.shortened(step, most=5, width=100).splitlines()
    assert lines[0] == "one line" and lines[-2:] == ["…", "row 29"] and max(map(len, lines)) <= 100


def test_the_page_says_how_to_record_what_is_missing(sphinx, tmp_path):
    names = ["tour-step} fit", "tour-picture} report\n:alt: a report\n\nits caption", "how-many}", "masks-gain}"]
    (tmp_path / "source").mkdir()
    text = "# Title\n\n" + "\n\n".join(f"```{{{name}\n```" for name in names)
    (tmp_path / "source" / "index.md").write_text(text)
    (html,), warnings = sphinx(["index"], extensions=["myst_parser", "fcdd_benchmarks"])
    html = re.sub("<[^>]+>", "", html)  # commands are coloured word by word
    assert "Unknown directive" not in warnings and f"$ {tour.STEPS['fit']}" in html
    for record, words in ((tour.RECORD, "benchmarks.tour --record"), (how_many.RECORD, "benchmarks.how_many --record")):
        assert (words in html) or record.exists()

"""The role for numbers in prose: what it reads, how it formats, and that a book without its records does not build."""

import importlib.util
import json
from pathlib import Path

import pytest

from fcdd_study import protocol, records

EXTENSIONS = Path(__file__).parents[1] / "book" / "_ext"
spec = importlib.util.spec_from_file_location("fcdd_numbers", EXTENSIONS / "fcdd_numbers.py")
numbers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(numbers)


def write(
    folder, auroc, *, normal="T-shirt/top", method="fcdd", seed=0, profile="trial", dataset="clothes", seconds=2.0
):
    """Writes a record as a run would."""
    run = protocol.Run(dataset, normal, method, seed, profile)
    record = {
        "schema": records.SCHEMA_VERSION,
        "run": {**run.__dict__, "id": run.id, "changes": {}},
        "settings": {},
        "selection": {"dataset": dataset, "train": None, "test": None, "options": {}},
        "metrics": {"auroc": auroc},
        "history": [],
        "images": {"train": 1, "test": 1},
        "data": {"sha256": "0" * 64, "source": "by hand"},
        "code": {"sha256": "0" * 64, "commit": "unknown"},
        "device": "cpu",
        "arithmetic": {"training": "no network", "cpu": "none"},
        "stack": [run.id],
        "versions": {},
        "seconds": {"fit": seconds, "score": 0.0},
        "date": "2026-01-01T00:00:00+00:00",
    }
    return records.write(record, folder)


@pytest.fixture
def table(tmp_path):
    """Two classes; three seeds of the first, one of the second; another method."""
    for seed, auroc in enumerate((0.8, 0.9, 1.0)):
        write(tmp_path, auroc, seed=seed)
    write(tmp_path, 0.5, normal="Bag", seconds=20.0)
    write(tmp_path, 0.75, method="hsc")
    return numbers.read([tmp_path])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("trial/fcdd/auroc/T-shirt/top", "0.900"),
        ("trial/fcdd", "0.700"),  # classes count the same, whatever the number of their seeds
        ("trial/fcdd/auroc:n", "4"),
        ("trial/fcdd/auroc:min", "0.500"),
        ("trial/fcdd/auroc:sd/T-shirt/top", "0.100"),
        ("trial@clothes/hsc", "0.750"),
        ("this/hsc", "0.750"),
        ("trial/fcdd/seconds", "11"),
        ("trial/hsc/seconds", "2.0"),
        ("trial/*/seconds:sum", "28"),
        ("trial/fcdd - trial/hsc", "−0.050"),
        ("trial/fcdd/auroc/T-shirt/top - trial/hsc", "+0.150"),
    ],
)
def test_text_to_number(table, text, shown):
    assert numbers.number(text, table, this="trial")[0] == shown


def test_a_number_of_an_ablation_whose_settings_are_pairs(table):
    named = "hsc+epochs=15+milestones=(10, 13)+exposure_limit=64"
    more = table[table["method"] == "hsc"].assign(method=named, id="trial/x", auroc=0.8)
    both = numbers.pd.concat([table, more])
    assert numbers.number(f"trial@clothes/{named} - trial/hsc", both)[0] == "+0.050"


def test_words_follow_the_records(tmp_path):
    """Two values swapped, and the sentence turns; values that are printed alike are called equal."""
    asked = "trial/fcdd ? trial/hsc: better than | worse than | as good as"

    def said(name, fcdd, hsc):
        write(tmp_path / name, fcdd)
        write(tmp_path / name, hsc, method="hsc")
        return numbers.comparison(asked, numbers.read([tmp_path / name]))

    words, origin = said("first", 0.8, 0.6)
    assert words == "better than" and origin.startswith("+0.200: mean of auroc") and "; minus" in origin
    assert said("swapped", 0.6, 0.8)[0] == "worse than"
    assert said("alike", 0.7001, 0.70013)[0] == "as good as"
    with pytest.raises(ValueError, match="expected: number . number: words if more"):
        numbers.comparison("trial/fcdd ? trial/hsc: better | worse", numbers.read([tmp_path / "first"]))


def test_origin_names_the_records(table):
    origin = numbers.number("trial/fcdd/auroc/T-shirt/top", table)[1]
    assert "3 run(s), 1 class(es), 3 seed(s)" in origin
    assert "trial/clothes/fcdd/t-shirt-top-seed0 and 2 more" in origin


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fcdd", "cannot read"),
        ("trial/svdd", "make study PROFILE=trial"),
        ("trial/fcdd/accuracy", "unknown metric"),
        ("trial/fcdd/auroc:median", "unknown metric or statistic"),
        ("trial/hsc/auroc:sd", "single seed"),
        ("quick/fcdd", "make study PROFILE=quick"),
        ("quick/fcdd/auroc/Top hat", "unknown classes"),
        ("quick/fccd", "unknown method"),
    ],
)
def test_what_cannot_be_answered_says_why(table, text, told):
    with pytest.raises(ValueError, match=told):
        numbers.number(text, table)


def test_profile_must_be_complete(tmp_path):
    """A mean over the classes that happen to be there is not the mean of the profile."""
    needed = protocol.runs("smoke", ["svdd"])
    for run in needed[:-1]:
        write(tmp_path, 0.5, normal=run.normal, method=run.method, seed=run.seed, profile="smoke", dataset=run.dataset)
    with pytest.raises(ValueError, match=f"{len(needed) - 1} of {len(needed)} records"):
        numbers.number("smoke/svdd", numbers.read([tmp_path]))


def test_fresh_record_hides_the_committed_one(tmp_path):
    write(tmp_path / "fresh", 0.9)
    write(tmp_path / "committed", 0.1)
    write(tmp_path / "committed", 0.7, seed=1)
    assert numbers.number("trial/fcdd", numbers.read([tmp_path / "fresh", tmp_path / "committed"]))[0] == "0.800"


def test_data_set_must_be_named_where_there_are_two(tmp_path):
    write(tmp_path, 0.9)
    write(tmp_path, 0.1, dataset="digits")
    with pytest.raises(ValueError, match="several data sets"):
        numbers.number("trial/fcdd", numbers.read([tmp_path]))


@pytest.fixture
def build(tmp_path, sphinx):
    """Builds a small book with one Markdown page and one notebook; returns the pages and the warnings."""
    source = tmp_path / "source"
    source.mkdir()
    prose = "# Title\n\nMean {run}`trial/fcdd/auroc`.\n"
    (source / "index.md").write_text(f"{prose}\n```{{toctree}}\nchapter\n```\n")
    cell = {"cell_type": "markdown", "metadata": {}, "source": prose.replace("auroc", "auroc/T-shirt/top")}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (source / "chapter.ipynb").write_text(json.dumps(notebook))

    def built():
        return sphinx(
            ["index", "chapter"],
            extensions=["myst_nb", "fcdd_numbers"],
            nb_execution_mode="off",
            fcdd_records=[str(tmp_path / "records")],
        )

    return built


def test_role_in_pages_and_notebooks(build, tmp_path):
    write(tmp_path / "records", 0.8)
    write(tmp_path / "records", 0.6, normal="Bag")
    (page, chapter), warnings = build()
    assert ">0.700†</abbr>" in page
    assert ">0.800†</abbr>" in chapter
    assert 'title="mean of auroc over 2 run(s)' in page
    assert "fcdd_numbers" not in warnings
    assert "{run}" not in warnings


def test_a_number_from_a_stale_record_is_marked(table, build, tmp_path):
    """The trial's records are of a profile that is not there: stale. The same ones, current, are not marked."""
    assert numbers.number("trial/fcdd", table)[1].endswith("(stale, profile)")
    assert "stale" not in numbers.number("trial/fcdd", table.assign(stale=""))[1]
    assert "(stale, code; profile)" in numbers.number("trial/fcdd", table.assign(stale=["code", *["profile"] * 4]))[1]
    write(tmp_path / "records", 0.8)
    assert 'class="run stale"' in build()[0][0]


def test_rebuild_notices_new_and_missing_records(build, tmp_path):
    first = write(tmp_path / "records", 0.8)
    assert ">0.800†</abbr>" in build()[0][0]
    write(tmp_path / "records", 0.6, normal="Bag")
    assert ">0.700†</abbr>" in build()[0][0]
    first.unlink()
    (page, chapter), warnings = build()
    assert ">0.600†</abbr>" in page
    assert ">??</abbr>" in chapter
    assert "make study PROFILE=trial" in warnings

"""Chapters: executed whole or not at all, stamped, refused where something is wrong."""

import json

import pytest

from fcdd_study import chapters, records

PARAMETERS = 'profile = "smoke"\nnormal = "Ankle boot"\nseed = 0\ndevice = "cpu"'


def cell(source, tags=(), kind="code"):
    made = {
        "cell_type": kind,
        "id": f"c{abs(hash(source)) % 10**6}",
        "metadata": {"tags": list(tags)},
        "source": source,
    }
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(path, *sources):
    cells = [cell("# A chapter", kind="markdown"), cell(PARAMETERS, ["parameters"]), *map(cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def texts(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(output.get("text", [])) for each in cells for output in each.get("outputs", [])]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A good chapter and what became of it."""
    folder = tmp_path_factory.mktemp("chapter")
    source = notebook(
        folder / "01_good.ipynb",
        "from fcdd import metrics\nprint(normal, seed)",
        "print('ä', metrics.auroc([0, 1], [0, 1]))",
    )
    output = folder / "out" / "01_good.ipynb"
    chapters.execute(source, output, {"normal": "Bag"})
    return source, output


# A reader changes the nominal class, the method or the exposure set by one parameter.
CHOICES = [
    ("00_anomalies", {"normal": "Ankle boot"}),
    ("01_svdd", {"method": "kde"}),
    ("01_svdd", {"method": "hsc", "exposure": "confetti"}),
    ("02_deep_svdd", {"method": "hsc", "normal": "Trouser"}),
    ("03_deep_sad", {"method": "fcdd", "exposure": "confetti"}),
    ("04_hsc", {"method": "fcdd", "exposure": "confetti"}),
    ("05_fcdd", {"method": "autoencoder", "normal": "Bag"}),
    ("05_fcdd", {"exposure": "confetti"}),
    ("07_clever_hans", {"method": "hsc", "normal": "Coat"}),
    ("06_localisation", {"dataset": "textures", "category": "gravel", "method": "hsc", "exposure": "confetti-masks"}),
    ("09_beyond", {"dataset": "piped-small", "category": "fvn02_rl"}),
]


# A minute a chapter.
@pytest.mark.slow
@pytest.mark.parametrize("name, choice", CHOICES, ids=str)
def test_a_reader_s_choice(tmp_path, name, choice):
    source = records.ROOT / "notebooks" / f"{name}.ipynb"
    chapters.execute(source, tmp_path / "out.ipynb", {"profile": "smoke", "device": "cpu", **choice})
    assert chapters.problems(tmp_path / "out.ipynb", source) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "train/good"], ids=["tree", "good pictures alone"])
def test_chapter_06_takes_any_folder(tmp_path, part):
    """Of good pictures alone, too: some are held out, and defects drawn on them."""
    from fcdd.datasets import piped

    source, folder = records.ROOT / "notebooks" / "06_localisation.ipynb", piped.tree(piped.SMALL) / "fvn02_rl" / part
    told = {"profile": "smoke", "device": "cpu", "dataset": str(folder)}
    chapters.execute(source, tmp_path / "out.ipynb", told)
    assert chapters.problems(tmp_path / "out.ipynb", source) == []
    assert ("held out" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")) == bool(part)


@pytest.mark.parametrize("choice, text", [
    ({"method": "kde"}, "method 'kde' cannot be shown in this chapter; it knows deep-sad, hsc, fcdd"),
    ({"exposure": "confetti"}, "deep-sad is trained without outliers.*use method hsc or fcdd"),
    ({"normal": "Hat"}, "unknown class 'Hat'"),
])  # fmt: skip
def test_a_choice_that_cannot_be_had(tmp_path, choice, text):
    with pytest.raises(chapters.ChapterError, match=text):
        chapters.execute(
            records.ROOT / "notebooks" / "03_deep_sad.ipynb", tmp_path / "out.ipynb", {"profile": "smoke", **choice}
        )


@pytest.fixture
def copy(executed, tmp_path):
    """A copy of the executed chapter to break, and a function that tells its problems after a change."""
    source, output = executed
    book = json.loads(output.read_text(encoding="utf-8"))

    def told(change):
        change(book)
        path = tmp_path / "broken.ipynb"
        path.write_text(json.dumps(book))
        return chapters.problems(path, source)

    return told


# ---- execution ----


def test_a_good_chapter(executed):
    source, output = executed
    assert texts(output) == ["Bag 0\n", "ä 1.0\n"]
    assert chapters.problems(output, source) == []
    made = json.loads(output.read_text(encoding="utf-8"))["metadata"]["fcdd"]
    assert made["parameters"] == {"normal": "Bag"} and made["seconds"] > 0
    assert made.keys() == {"source", "code", "outputs", "parameters", "commit", "versions", "seconds"}
    assert [path.name for path in output.parent.iterdir()] == ["01_good.ipynb"]
    assert not any(each.get("outputs") for each in json.loads(source.read_text())["cells"])  # the source stays clean


def test_unknown_parameters_are_refused_before_anything_runs(executed, tmp_path):
    source, _ = executed
    with pytest.raises(
        chapters.ChapterError, match="unknown parameters epoch, sed; 01_good.ipynb knows device, normal, profile, seed"
    ):
        chapters.execute(source, tmp_path / "out.ipynb", {"sed": 1, "epoch": 3, "seed": 2})
    assert not list(tmp_path.iterdir())


def test_a_failing_chapter_is_kept_aside_and_the_old_output_stays(tmp_path):
    source = notebook(tmp_path / "02_bad.ipynb", "print('so far')", "raise KeyError('lost')", "print('never')")
    output = tmp_path / "out" / "02_bad.ipynb"
    output.parent.mkdir()
    output.write_text("old")
    with pytest.raises(chapters.ChapterError, match="02_bad.ipynb failed, see .*02_bad.failed.ipynb: KeyError: 'lost'"):
        chapters.execute(source, output, {})
    assert output.read_text() == "old"
    kept = output.with_suffix(".failed.ipynb")
    assert sorted(path.name for path in output.parent.iterdir()) == ["02_bad.failed.ipynb", "02_bad.ipynb"]
    assert any("so far" in text for text in texts(kept))
    found = chapters.problems(kept, source)
    assert "error in a cell: KeyError: 'lost'" in found and any("no stamp" in problem for problem in found)
    notebook(source, "print('mended')")
    chapters.execute(source, output, {})
    assert [path.name for path in output.parent.iterdir()] == ["02_bad.ipynb"]  # the failed one is gone


# ---- the gate ----


def test_error_outputs(copy):
    def change(book):
        book["cells"][-1]["outputs"].append(
            {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
        )

    assert copy(change) == ["error in a cell: ValueError: no"]


@pytest.mark.parametrize("count", [None, 1, 9])
def test_cells_out_of_order(copy, count):
    def change(book):
        book["cells"][-1]["execution_count"] = count

    assert copy(change) == [f"cells ran out of order: [1, 2, 3, {count}]"]


def test_missing_stamp(copy):
    assert copy(lambda book: book["metadata"].pop("fcdd")) == [
        "no stamp: it was not run by the graph (fcdd_study.chapters.execute)"
    ]


@pytest.mark.parametrize("part", ["source", "code"])
def test_stale_stamp(copy, part):
    def change(book):
        book["metadata"]["fcdd"][part] = "0" * 64

    assert copy(change) == [f"stale: its {part} changed since it ran"]


def test_all_problems_at_once(copy):
    def change(book):
        book["cells"][-1]["outputs"].append({"output_type": "error", "ename": "E", "evalue": "x", "traceback": []})
        book["cells"][-1]["execution_count"] = 17
        book["metadata"]["fcdd"]["source"] = book["metadata"]["fcdd"]["code"] = ""

    assert len(copy(change)) == 4


def test_a_changed_source_is_noticed(executed, tmp_path):
    source, output = executed
    other = tmp_path / "01_good.ipynb"
    other.write_text(source.read_text().replace("print(normal, seed)", "print(normal, seed, 1)"))
    assert chapters.problems(output, other) == ["stale: its source changed since it ran"]


def test_a_chapter_depends_on_the_code_it_names(tmp_path):
    def files(source):
        return {path.name for path in chapters.code_files(notebook(tmp_path / "n.ipynb", source))}

    assert {"metrics.py", "chapters.py"} <= files("from fcdd import metrics") and "svdd.py" not in files(
        "from fcdd import metrics"
    )
    assert "svdd.py" in files("import fcdd\nfcdd.SVDD()")
    assert {"detectors.py", "training.py", "networks.py"} <= files("from fcdd import FCDD")


# ---- parameters ----


def test_parameters_of_papermill_that_the_chapter_does_not_know():
    first, papermill = PARAMETERS, '# Parameters\nprofile = "quick"\nseed = 3\n'
    chapters.refuse_unknown(["", first, papermill])
    chapters.refuse_unknown(["", first])
    chapters.refuse_unknown([])
    with pytest.raises(
        ValueError, match="unknown parameters sede, x; this chapter knows device, normal, profile, seed"
    ):
        chapters.refuse_unknown(["", first, "# Parameters\nsede = 3\nx = 1\nseed = 2\n", "later = 1"])
    chapters.refuse_unknown(["", first, papermill, "other = 1"])  # what a chapter sets later is its own


def test_begin_refuses_unknown_names():
    chapters.begin("smoke", "Bag")
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        chapters.begin("huge")
    with pytest.raises(ValueError, match="unknown class 'Hat' of fashion-mnist-small; known: T-shirt/top"):
        chapters.begin("smoke", "Hat")

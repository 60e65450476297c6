"""Figures that decide something: which methods a bar joins, which mark a verdict gets, where a value is drawn; and
where they live: the library's own, and one file a chapter."""

import ast
import json
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import fcdd
from fcdd import figures
from fcdd_study import chapters, course, verdicts
from fcdd_study.figures import ch01_svdd, ch02_deep_svdd, ch04_hsc, ch07_clever_hans, shared
from fcdd_study.figures import ch08_study as plots

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
DRAWING = [path for path in NOTEBOOKS if "fcdd_study.figures" in path.read_text(encoding="utf-8")]
ANOMALOUS = np.arange(40) >= 20
SCORES = np.linspace(0, 1, 40)


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("ranks", "cd", "groups"),
    [
        ([1.0, 1.5, 3.0, 3.4], 1.0, [(0, 1), (2, 3)]),
        ([1.0, 2.0, 3.0], 1.0, [(0, 1), (1, 2)]),  # overlapping: neither holds the other
        ([1.0, 1.4, 1.8, 3.0], 1.0, [(0, 2)]),  # within a longer one: not drawn again
        ([1.0, 3.0], 1.0, []),
        ([1.5, 1.5], 0.5, [(0, 1)]),
    ],
)
def test_bars_join_what_cannot_be_told_apart(ranks, cd, groups):
    assert plots._alike(np.array(ranks), cd) == groups


def test_critical_difference_names_every_method_with_its_rank():
    figure = plots.critical_difference(pd.Series({"hsc": 2.5, "fcdd": 1.25, "svdd": 2.25}), 1.1)
    written = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert all(part in written for part in ("fcdd 1.25", "svdd 2.25", "hsc 2.50", "critical difference 1.10"))


def test_a_forest_has_both_intervals_of_each_pair():
    methods = {"fcdd": 0.9, "hsc": 0.8, "svdd": 0.85}
    table = pd.DataFrame([
        {"dataset": "toy", "normal": str(k), "method": name, "seed": seed, "auroc": level + 0.01 * k * (seed + 1) / 9}
        for name, level in methods.items() for k in range(4) for seed in range(3)
    ])  # fmt: skip
    pairs = verdicts.compare(table, to="fcdd").pairs
    (axes,) = plots.forest(pairs).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fcdd − hsc", "fcdd − svdd"]
    thin, thick = (lines.get_segments() for lines in axes.collections[:2])
    for row, pair in enumerate(pairs.itertuples()):
        assert thin[row][:, 0].tolist() == [pair.low, pair.high]
        assert thick[row][:, 0].tolist() == [pair.seeds_low, pair.seeds_high]
    written = [text.get_text() for text in axes.texts]
    assert written == [f"p = {p:.2g}" for p in pairs["p_holm"]]
    assert axes.collections[2].get_offsets()[:, 0].tolist() == pytest.approx([0.1, 0.05])


def verdict_table():
    rows = [
        ("a", "reproduced", 0.8),
        ("b", "not reproduced", 0.6),
        ("c", "not run", np.nan),
        ("d", "within noise", 0.7),
    ]
    cell = {"dataset": "toy", "method": "fcdd", "setting": "", "published": 0.8, "low": np.nan, "high": np.nan}
    cell |= {"remembered": np.nan}
    cells = [{**cell, "normal": normal, "verdict": verdict, "ours": ours} for normal, verdict, ours in rows]
    lone = {**cell, "normal": "mean", "method": "hsc", "setting": "rare", "verdict": "reproduced", "ours": 0.81}
    return pd.DataFrame([*cells, lone])


def test_summary_has_a_panel_for_each_method_and_one_for_lone_means():
    axes = [axis for axis in plots.summary(verdict_table()).axes if axis.axison]
    assert [axis.get_title() for axis in axes] == ["toy, fcdd", "means over classes"]
    labels = [[label.get_text() for label in axis.get_yticklabels()] for axis in axes]
    assert labels == [["a", "b", "c", "d"], ["toy, hsc, rare"]]


def test_verdicts_differ_in_colour_and_in_shape():
    colours, markers = zip(*plots.VERDICTS.values(), strict=True)
    assert len(set(colours)) == len(set(markers)) == 5
    assert tuple(plots.VERDICTS) == verdicts.VERDICTS


def test_values_from_memory_are_told_from_published_ones():
    table = verdict_table()
    legend = plots.summary(table.assign(remembered=[0.75, *[np.nan] * 4])).legends[0]
    lines = {text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)}
    assert lines["published"] == "black" and lines["remembered, not judged"] == "0.6"
    assert "remembered, not judged" not in [text.get_text() for text in plots.summary(table).legends[0].texts]


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [([1, 8, 64], "log", None), ([0.0, 0.1, 0.2], "linear", None), (["l1", "l2"], "linear", ["l1", "l2"])],
)
def test_ablations_are_drawn_to_scale_where_values_are_numbers(values, scale, ticks):
    table = pd.DataFrame([{"value": v, "normal": n, "auroc": 0.5} for v in values for n in ("a", "b") for _ in (0, 1)])
    axis = plots.ablations({"one": table}).axes[0]
    assert axis.get_title() == "one" and axis.get_xscale() == scale
    if ticks:
        assert [label.get_text() for label in axis.get_xticklabels()] == ticks
    else:
        np.testing.assert_allclose(axis.lines[-1].get_xdata(), values)
    low, high = axis.get_ylim()
    assert high - low >= 0.05
    heights = [label.xy[1] for label in axis.texts]  # equal lines, names that can be read
    assert len(heights) == 2 and abs(heights[1] - heights[0]) >= 0.049 * (high - low)


# ---- the library's figures ----


def test_the_library_needs_no_matplotlib_before_it_draws_and_no_seaborn_at_all():
    told = "import fcdd, sys; print('matplotlib' in sys.modules); fcdd.figures; print('seaborn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_threshold_and_shares_of_the_histogram():
    axes = figures.score_histogram(ANOMALOUS, SCORES, offset=-0.4).axes[0]
    assert axes.lines[0].get_xdata() == [0.4, 0.4]
    assert [sum(bar.get_height() for bar in bars) for bars in axes.containers] == pytest.approx([1, 1])


def test_histogram_of_good_images_only():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        axes = figures.score_histogram(np.zeros(40, bool), SCORES).axes[0]
    assert [str(warning.message) for warning in said] == []
    assert sum(bar.get_height() for bar in axes.containers[0]) == pytest.approx(1)


def test_heatmaps_of_a_row_share_a_scale_unless_asked():
    maps = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 3.0)])
    maps[:, 0, 0] = 0
    masks = maps > 1
    named = {"image": np.zeros((2, 1, 2, 2), np.uint8), "heatmap": maps, "mask": masks}

    def drawn(**options):
        return [np.asarray(axis.images[0].get_array()) for axis in figures.picture_rows(named, **options).axes]

    together, alone = drawn(), drawn(shared=False)
    assert together[2].max() < 0.4 and together[3].max() == 1
    assert alone[2].max() == alone[3].max() == 1
    np.testing.assert_array_equal(together[5], masks[1])


def test_image_grid_leaves_no_image_out():
    axes = figures.image_grid(np.zeros((7, 1, 2, 2), np.uint8), list("abcdefg"), columns=3).axes
    assert [axis.get_title() for axis in axes if axis.images] == list("abcdefg")


def test_training_curve_counts_epochs_from_one():
    axes = figures.training_curve({"FCDD": [3.0, 2.0, 1.5], "HSC": [1.0, 0.5]}, log=True).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 3], [1, 2]]
    assert list(axes.lines[0].get_ydata()) == [3.0, 2.0, 1.5] and axes.get_yscale() == "log"


SIX = list("abcdef")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.roc(ANOMALOUS, dict.fromkeys(SIX, SCORES)),
        lambda: figures.training_curve(dict.fromkeys(SIX, [2.0, 1.0])),
        lambda: shared.curves([1, 2], dict.fromkeys(SIX, [0, 1]), "x", "y"),
        lambda: shared.intervals(pd.DataFrame(dict.fromkeys(SIX, [Interval()]), ["one"])),
        lambda: ch01_svdd.aurocs_by_class(pd.DataFrame(dict.fromkeys(SIX, [0.5]), ["one"])),
        lambda: ch07_clever_hans.conditions(pd.DataFrame(dict.fromkeys(SIX, [0.5]), ["one"])),
    ],
    ids=["roc", "training_curve", "curves", "intervals", "aurocs_by_class", "conditions"],
)
def test_no_method_is_left_out(draw):
    assert [name[0] for name in legend(draw())] == SIX


@pytest.mark.parametrize("draw", [lambda table: ch04_hsc.bars(table, "method", ""), plots.method_spread])
def test_the_same_table_gives_the_same_picture(draw):
    table = pd.DataFrame({"method": ["a", "b", "a", "b"], "auroc": [0.6, 0.7, 0.8, 0.9]})

    def pixels():
        canvas = draw(table).canvas
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())

    np.testing.assert_array_equal(pixels(), pixels())


class Interval:
    low, mean, high = 0.4, 0.5, 0.6


# ---- the chapters' figures ----


def code_of(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_latent_vectors_are_seen_from_their_center():
    """Far from the cross in the figure is far from the center in latent space."""
    z = np.random.default_rng(0).normal(size=(40, 2)) + [5, 0]
    first = ch02_deep_svdd.latent(z, z, ANOMALOUS, [np.zeros(2), np.array([5.0, 0.0])]).axes
    for axis, center in zip(first, ([0, 0], [5, 0]), strict=True):
        *points, cross = (group.get_offsets() for group in axis.collections)
        drawn, true = np.concatenate(points), np.concatenate([z[ANOMALOUS], z[~ANOMALOUS]])
        np.testing.assert_allclose(cross, [[0, 0]])
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), np.linalg.norm(true - center, axis=1))


def test_every_chapter_draws():
    assert {path for path in NOTEBOOKS if path.match(course.CHAPTERS)} <= set(DRAWING)


@pytest.mark.parametrize("notebook", DRAWING, ids=lambda path: path.stem)
def test_a_chapter_draws_with_its_own_file_alone_and_with_all_of_it(notebook):
    tree = ast.parse(code_of(notebook))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    (own,) = [name for node in imports if node.module == "fcdd_study.figures" for name in node.names]
    assert own.name == figures_of(notebook)
    trees = [ast.parse(code_of(path)) for path in NOTEBOOKS if figures_of(path) == own.name]  # of its pages, too
    used = {node.attr for tree in trees for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == own.asname}  # fmt: skip
    assert used == set(import_module(f"fcdd_study.figures.{own.name}").__all__)


def figures_of(notebook) -> str:
    """The file that draws for a chapter and for its pages, as 08b is one of 08."""
    return next(f"ch{path.stem}" for path in NOTEBOOKS if path.stem.startswith(f"{notebook.stem[:2]}_"))


@pytest.mark.parametrize("notebook", DRAWING, ids=lambda path: path.stem)
def test_other_chapters_figures_make_no_chapter_stale(notebook):
    behind = {path.relative_to(Path(fcdd.__file__).parents[1]).as_posix() for path in chapters.code_files(notebook)}
    drawn = {path for path in behind if path.startswith("fcdd_study/figures/ch")}
    assert drawn == {f"fcdd_study/figures/{figures_of(notebook)}.py"}
    assert {"fcdd_study/figures/style.py"} <= behind


# ---- the old names ----


def test_fcdd_plots_still_answers_and_names_the_new_place():
    with pytest.warns(DeprecationWarning, match="fcdd.plots.roc is now fcdd.figures.roc"):
        assert fcdd.plots.roc is figures.roc
    with pytest.warns(DeprecationWarning, match="fcdd.plots.curves is now fcdd_study.figures.shared.curves"):
        from fcdd.plots import curves
    assert curves is shared.curves
    with pytest.raises(AttributeError, match="no attribute 'pie'; see fcdd.figures"):
        fcdd.plots.pie  # noqa: B018


OLD = [  # what fcdd.plots held
    "ablations", "auroc_table", "aurocs_by_class", "bars", "conditions", "critical_difference", "curves",
    "decision_2d", "field_on_image", "heatmap_grid", "heatmap_rows", "image_grid", "influence", "intervals",
    "latent", "lineage", "marked_rows", "method_spread", "moved_center", "outlines_2d", "pairs_by_class",
    "picture_rows", "roc", "score_histogram", "score_ranges", "scores_by_group", "set_style", "show_image", "stamp",
    "summary", "support_kinds", "trend", "values_and_gradients", "ANOMALOUS", "HEAT", "LINEAGE", "NOMINAL",
    "VERDICTS",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_old_name_is_lost():
    assert [name for name in OLD if not hasattr(fcdd.plots, name)] == []

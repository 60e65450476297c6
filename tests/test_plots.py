"""Figures that decide something: which methods a bar joins, which mark a verdict gets, where a value is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from fcdd_study import figures as plots


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


def verdict_table():
    rows = [
        ("a", "reproduced", 0.8),
        ("b", "not reproduced", 0.6),
        ("c", "not run", np.nan),
        ("d", "within noise", 0.7),
    ]
    cell = {"dataset": "toy", "method": "fcdd", "setting": "", "published": 0.8, "low": np.nan, "high": np.nan}
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
    assert len(set(colours)) == len(set(markers)) == 4


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

"""Metrics against scikit-learn and against slow, plain definitions."""

import tracemalloc
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from fcdd import metrics
from fcdd.metrics import aupro, auroc, bootstrap_interval, paired_test, pixel_auroc


@st.composite
def labelled_scores(draw, levels=None):
    levels = st.integers(-5, 5) if levels is None else levels
    n = draw(st.integers(2, 60))
    anomalous = np.array([True, False, *draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))])
    return anomalous, np.array(draw(st.lists(levels, min_size=n, max_size=n)), float)


# ---- AUROC ----


@given(labelled_scores())
def test_auroc_with_ties_equals_scikit_learn(drawn):
    assert auroc(*drawn) == pytest.approx(roc_auc_score(*drawn), abs=1e-12)


@given(labelled_scores(st.floats(-1e6, 1e6, width=32)))
def test_auroc_equals_scikit_learn(drawn):
    assert auroc(*drawn) == pytest.approx(roc_auc_score(*drawn), abs=1e-12)


def test_auroc_counts_pairs_in_large_samples():
    rng = np.random.default_rng(0)
    anomalous, scores = rng.random(200_000) < 0.1, rng.integers(0, 50, 200_000).astype(np.float32)
    assert auroc(anomalous, scores) == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)


@given(labelled_scores())
def test_auroc_symmetry_and_monotone_transformations(drawn):
    anomalous, scores = drawn
    value = auroc(anomalous, scores)
    assert auroc(anomalous, -scores) == pytest.approx(1 - value)
    assert auroc(~anomalous, scores) == pytest.approx(1 - value)
    assert auroc(anomalous, np.exp(scores / 3)) == value


def test_auroc_extremes_and_kinds():
    assert auroc([False, False, True], [0.1, 0.2, 0.3]) == 1
    assert auroc([False, False, True], [0.1, 0.2, 0.0]) == 0
    assert auroc([0, 0, 1, 1], [1, 1, 1, 1]) == 0.5
    assert auroc([0, 1], [0, np.inf]) == 1


@pytest.mark.parametrize("anomalous, scores, text", [
    ([True, False], [0.1, 0.2, 0.3], r"one score for each label, got shapes \(2,\) and \(3,\)"),
    ([[True, False]], [[0.1, 0.2]], r"one score for each label, got shapes \(1, 2\) and \(1, 2\)"),
    ([1, -1, 1], [0.1, 0.2, 0.3], "booleans, True = anomalous; for ±1 labels pass y == -1"),
    ([True, False, False], [0.1, np.nan, np.nan], "without NaN, found 2"),
    ([True, True], [0.1, 0.2], "nominal and anomalous samples, got 2 anomalous of 2"),
    ([False, False], [0.1, 0.2], "nominal and anomalous samples, got 0 anomalous of 2"),
    ([], [], "nominal and anomalous samples, got 0 anomalous of 0"),
])  # fmt: skip
def test_auroc_refuses(anomalous, scores, text):
    with pytest.raises(ValueError, match=text):
        auroc(anomalous, scores)


# ---- pixels ----


def defects(seed, n=3, size=12, levels=6):
    rng = np.random.default_rng(seed)
    masks = ndimage.binary_dilation(rng.random((n, size, size)) < 0.03, np.ones((1, 2, 2)))
    masks[0, 0, 0], masks[1] = True, False  # one single pixel at least, and one good image
    maps = np.round(rng.normal(size=masks.shape) * 2 + 2 * masks, 0 if levels == 6 else 8)
    return masks, maps


@pytest.mark.parametrize("seed", range(5))
def test_pixel_auroc_pools_all_pixels(seed):
    masks, maps = defects(seed)
    assert pixel_auroc(masks, maps) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)


def test_pixel_auroc_of_many_pixels_is_exact_and_frugal():
    """Ties, a third of the pixels anomalous, scores in the datasets' type; memory for two copies of the maps."""
    rng = np.random.default_rng(0)
    masks = rng.random((8, 256, 256)) < 1 / 3
    maps = (rng.normal(masks, 1) * 100).round().astype(np.float32) / 100
    tracemalloc.start()
    value = pixel_auroc(masks, maps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert value == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-9)
    assert peak < 2.5 * maps.nbytes


def slow_aupro(masks, maps, limit):
    """Sweeps every threshold, draws the mean overlap of regions against the false-positive rate, integrates the
    straight lines between the points up to the limit, in whole fractions."""
    regions = []
    for image, mask in enumerate(masks):
        found, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(image, found == k + 1) for k in range(count)]
    points = [(Fraction(0), Fraction(0))]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        rate = Fraction(int(above[~masks].sum()), int((~masks).sum()))
        shares = [Fraction(int(above[image][region].sum()), int(region.sum())) for image, region in regions]
        points.append((rate, sum(shares) / len(shares)))
    limit, area = Fraction(limit), 0
    for (left, low), (right, high) in pairwise(points):
        if left < limit and left < right:
            end = min(right, limit)
            area += (end - left) * (low + (low + (high - low) * (end - left) / (right - left))) / 2
    return float(area / limit)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_equals_the_threshold_sweep(seed, limit):
    masks, maps = defects(seed, size=24, levels=None)  # no ties
    assert aupro(masks, maps, limit) == pytest.approx(slow_aupro(masks, maps, limit), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_aupro_with_ties_over_the_whole_range(seed):
    masks, maps = defects(seed)
    assert aupro(masks, maps, 1.0) == pytest.approx(slow_aupro(masks, maps, 1.0), abs=1e-12)


@st.composite
def tied_maps(draw):
    """Two images of whole scores; each has a defect, and the limit often lies within a tie or at its end."""
    levels = draw(st.integers(1, 4))
    maps = np.array(draw(st.lists(st.integers(0, levels), min_size=24, max_size=24)), float).reshape(2, 3, 4)
    masks = np.array(draw(st.lists(st.booleans(), min_size=24, max_size=24))).reshape(2, 3, 4)
    masks[:, 0, 0], masks[:, 2, 3] = True, False
    return masks, maps, draw(st.integers(1, 20)) / 20 if draw(st.booleans()) else draw(st.floats(0.01, 1))


@given(tied_maps())
def test_aupro_with_ties_at_the_limit(drawn):
    masks, maps, limit = drawn
    assert aupro(masks, maps, limit) == pytest.approx(slow_aupro(masks, maps, limit), abs=1e-12)


def test_aupro_of_a_constant_map_is_the_diagonals():
    """All pixels tie: the curve is the diagonal, and the area up to the limit L is L² / 2, divided by L."""
    masks, _ = defects(0)
    for limit in (0.05, 0.3, 1.0):
        assert aupro(masks, np.zeros(masks.shape), limit) == pytest.approx(limit / 2)


def test_aupro_weighs_defects_not_pixels():
    masks, maps = np.zeros((1, 20, 20), bool), np.zeros((1, 20, 20))
    masks[0, 0:10, 0:10], masks[0, 15, 15] = True, True
    maps[0, 15, 15] = 1  # the small defect is found, the large one looks like the ground
    sweep = aupro(masks, maps, 1.0)
    assert sweep == pytest.approx((1 + 0.5) / 2) and pixel_auroc(masks, maps) < 0.51


def test_aupro_of_perfect_and_inverted_maps():
    masks, _ = defects(0)
    assert aupro(masks, masks.astype(float)) == 1
    assert aupro(masks, -masks.astype(float)) == 0


def test_aupro_does_not_join_defects_of_neighbouring_images():
    masks, maps = np.zeros((2, 4, 4), bool), np.random.default_rng(0).random((2, 4, 4))
    masks[0, :2, :2], masks[1, :1, :1] = True, True
    assert aupro(masks, maps, 1.0) == pytest.approx(slow_aupro(masks, maps, 1.0), abs=1e-12)


@pytest.mark.parametrize("limit", [0, -0.1, 1.1])
def test_aupro_limit(limit):
    with pytest.raises(ValueError, match=f"0 < fpr_limit <= 1, got {limit}"):
        aupro(*defects(0), limit)


def test_aupro_refuses_what_auroc_refuses():
    masks, maps = defects(0)
    with pytest.raises(ValueError, match="nominal and anomalous"):
        aupro(np.zeros_like(masks), maps)
    maps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="without NaN, found 1"):
        aupro(masks, maps)
    with pytest.raises(ValueError, match="of one shape"):
        aupro(masks, maps[:2])


def test_masks_as_data_sets_hold_them():
    """Data sets hold masks as (N, 1, H, W), maps are (N, H, W): both must work together, other shapes must not."""
    masks, maps = defects(0)
    assert pixel_auroc(masks[:, None], maps) == pixel_auroc(masks, maps)
    assert aupro(masks[:, None], maps) == aupro(masks, maps)
    for metric in (pixel_auroc, aupro):
        with pytest.raises(ValueError, match="shape"):
            metric(masks.reshape(3, 6, 24), maps)


# ---- intervals and tests ----


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(40):
        interval = bootstrap_interval(rng.normal(0.9, 0.05, 30))
        assert interval.low < interval.mean < interval.high
        inside += interval.low <= 0.9 <= interval.high
    assert inside >= 32  # 95 %, a little less for a bootstrap of 30


def test_interval_follows_seed_level_and_spread():
    values = np.random.default_rng(1).normal(size=20)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert narrow.mean == pytest.approx(values.mean())
    expected = 1.96 * values.std() / np.sqrt(20)
    assert bootstrap_interval(values).high - values.mean() == pytest.approx(expected, rel=0.2)


def test_interval_of_one_value_is_unknown():
    interval = bootstrap_interval([0.7])
    assert interval.mean == 0.7 and np.isnan(interval.low) and np.isnan(interval.high)


def test_paired_test_sees_pairs():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 1, 30)
    assert paired_test(base, base - 0.01 - 0.001 * rng.random(30)) < 1e-6  # small but always the same way
    assert paired_test(base, base + rng.normal(0, 0.05, 30)) > 0.05
    assert paired_test(base, base[::-1].copy()) == pytest.approx(paired_test(base[::-1].copy(), base))


# ---- intervals over images ----


def drawn(seed=0, size=24):
    """Twelve images of 24×24, four of them good; defects are only partly found."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((12, size, size), bool)
    for mask in masks[4:]:
        row, column = rng.integers(0, size - 8, 2)
        mask[row : row + rng.integers(2, 8), column : column + 5] = True
    return masks, rng.normal(0, 1, masks.shape) + rng.uniform(0, 3, (12, 1, 1)) * masks


def test_auroc_interval_equals_the_slow_bootstrap():
    rng = np.random.default_rng(0)
    anomalous = np.arange(40) % 3 == 0
    scores = (rng.normal(anomalous, 1) * 4).round() / 4  # with ties
    interval = metrics.auroc_interval(anomalous, scores, resamples=300, seed=5)
    weights = metrics._weights(anomalous, 300, 5).astype(int)
    slow = [auroc(np.repeat(anomalous, w), np.repeat(scores, w)) for w in weights]
    assert interval.mean == auroc(anomalous, scores)
    assert interval[1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=1e-12)
    assert interval == metrics.auroc_interval(anomalous, scores, resamples=300, seed=5)


def test_pixel_intervals_equal_the_slow_bootstrap():
    masks, maps = drawn()
    found = metrics.pixel_intervals(masks, maps, resamples=60, seed=3)
    assert found["pixel AUROC"].mean == pixel_auroc(masks, maps) and found["AUPRO"].mean == aupro(masks, maps)
    weights = metrics._weights(masks.any((1, 2)), 60, 3).astype(int)
    for metric, name, error in ((pixel_auroc, "pixel AUROC", 1 / 8192), (aupro, "AUPRO", 1 / 8192 / 0.3)):
        slow = [metric(np.repeat(masks, w, 0), np.repeat(maps, w, 0)) for w in weights]
        assert found[name][1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=error)
        assert found[name].low < found[name].mean < found[name].high


@pytest.mark.parametrize("size, levels, error", [(8, 3, 1e-12), (24, 9, 1 / 8192), (24, 1, 1 / 8192)])
def test_intervals_of_tied_maps_equal_the_slow_bootstrap(size, levels, error):
    """Few distinct scores, defects among and between them: in few pixels resamples are exact, in many to the bound."""
    masks, maps = drawn(size=size + 1)
    maps = np.round(maps * levels / 3) + 0.5 * (masks & (maps > 0.5))
    found = metrics.pixel_intervals(masks, maps, resamples=50, seed=3)
    weights = metrics._weights(masks.any((1, 2)), 50, 3).astype(int)
    for metric, name, bound in ((pixel_auroc, "pixel AUROC", error), (aupro, "AUPRO", error / 0.3)):
        slow = [metric(np.repeat(masks, w, 0), np.repeat(maps, w, 0)) for w in weights]
        assert found[name][1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=bound)


def test_intervals_shrink_with_more_images():
    masks, maps = drawn()
    few = metrics.pixel_intervals(masks, maps)
    many = metrics.pixel_intervals(np.tile(masks, (9, 1, 1)), np.tile(maps, (9, 1, 1)))
    for name in few:
        assert many[name].mean == pytest.approx(few[name].mean)
        assert many[name].high - many[name].low < 0.5 * (few[name].high - few[name].low)


def test_images_of_several_sizes():
    masks, maps = drawn()
    pieces = [m[:20] for m in masks[:6]] + [m[:, :16] for m in masks[6:]]
    heats = [m[:20] for m in maps[:6]] + [m[:, :16] for m in maps[6:]]
    pooled = np.concatenate([m.ravel() for m in pieces]), np.concatenate([m.ravel() for m in heats])
    assert pixel_auroc(pieces, heats) == auroc(*pooled)
    assert 0 < aupro(pieces, heats) <= 1 and set(metrics.pixel_intervals(pieces, heats)) == {"pixel AUROC", "AUPRO"}
    with pytest.raises(ValueError, match="of one shape"):
        pixel_auroc(pieces, heats[::-1])


def test_maps_at_original_resolution():
    maps = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32)
    large = metrics.at_original_resolution(maps, [np.zeros((12, 18)), np.zeros((9, 11))])
    assert [heat.shape for heat in large] == [(12, 18), (9, 11)]
    assert (large[0] == np.kron(maps[0], np.ones((3, 3)))).all()
    (smooth,) = metrics.at_original_resolution(maps[:1], [np.zeros((8, 12))], mode="bilinear")
    assert smooth.mean() == pytest.approx(maps[0].mean(), abs=0.02)

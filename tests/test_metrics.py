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
from fcdd.metrics import aupro, auroc, pixel_auroc


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


# ---- several sizes ----


def test_images_of_several_sizes():
    masks, maps = defects(0, n=12, size=24)
    pieces = [m[:20] for m in masks[:6]] + [m[:, :16] for m in masks[6:]]
    heats = [m[:20] for m in maps[:6]] + [m[:, :16] for m in maps[6:]]
    pooled = np.concatenate([m.ravel() for m in pieces]), np.concatenate([m.ravel() for m in heats])
    assert pixel_auroc(pieces, heats) == auroc(*pooled)
    assert 0 < aupro(pieces, heats) <= 1
    with pytest.raises(ValueError, match="of one shape"):
        pixel_auroc(pieces, heats[::-1])


def test_maps_at_original_resolution():
    maps = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32)
    large = metrics.at_original_resolution(maps, [np.zeros((12, 18)), np.zeros((9, 11))])
    assert [heat.shape for heat in large] == [(12, 18), (9, 11)]
    assert (large[0] == np.kron(maps[0], np.ones((3, 3)))).all()
    (smooth,) = metrics.at_original_resolution(maps[:1], [np.zeros((8, 12))], mode="bilinear")
    assert smooth.mean() == pytest.approx(maps[0].mean(), abs=0.02)


# ---- the smallest defect found ----


def drawn(*squares, side=20):
    """A mask with squares (row, column, side), and a map that is 1 in those of which the value is true."""
    mask, heat = np.zeros((side, side), bool), np.zeros((side, side))
    for row, column, edge, value in squares:
        mask[row : row + edge, column : column + edge] = True
        heat[row + edge // 2, column + edge // 2] = value
    return mask, heat


@pytest.mark.parametrize("squares, expected", [
    ([(0, 0, 8, 1), (10, 0, 4, 1), (10, 10, 2, 1)], 4 / 400),  # all
    ([(0, 0, 8, 1), (10, 0, 4, 1), (10, 10, 2, 0)], 16 / 400),  # all but the smallest
    ([(0, 0, 8, 0), (10, 0, 4, 1), (10, 10, 2, 1)], 1.0),  # a small one by chance does not count
])  # fmt: skip
def test_smallest_found(squares, expected):
    mask, heat = drawn(*squares)
    good = [(np.zeros((20, 20), bool), np.full((20, 20), k / 100)) for k in range(20)]
    masks, maps = zip(*good, (mask, heat), strict=True)
    assert metrics.smallest_found(masks, maps) == pytest.approx(expected)
    assert metrics.smallest_found(masks, [20 * heat - 3 for heat in maps]) == pytest.approx(expected)


def test_what_good_images_show_as_well_is_not_found():
    mask, heat = drawn((0, 0, 8, 0.5))
    good = np.zeros((20, 20), bool)
    assert metrics.smallest_found([good, mask], [np.eye(20), heat]) == 1.0
    with pytest.raises(ValueError, match="expected some images without defects"):
        metrics.smallest_found([mask], [heat])

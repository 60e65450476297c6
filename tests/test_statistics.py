"""Intervals and tests against slow, plain definitions."""

import numpy as np
import pytest

from fcdd import metrics
from fcdd.metrics import aupro, auroc, pixel_auroc
from fcdd_study import statistics
from fcdd_study.statistics import bootstrap_interval, paired_test

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
    interval = statistics.auroc_interval(anomalous, scores, resamples=300, seed=5)
    weights = statistics._weights(anomalous, 300, 5).astype(int)
    slow = [auroc(np.repeat(anomalous, w), np.repeat(scores, w)) for w in weights]
    assert interval.mean == auroc(anomalous, scores)
    assert interval[1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=1e-12)
    assert interval == statistics.auroc_interval(anomalous, scores, resamples=300, seed=5)


def test_pixel_intervals_equal_the_slow_bootstrap():
    masks, maps = drawn()
    found = statistics.pixel_intervals(masks, maps, resamples=60, seed=3)
    assert found["pixel AUROC"].mean == pixel_auroc(masks, maps) and found["AUPRO"].mean == aupro(masks, maps)
    weights = statistics._weights(masks.any((1, 2)), 60, 3).astype(int)
    for metric, name, error in ((pixel_auroc, "pixel AUROC", 1 / 8192), (aupro, "AUPRO", 1 / 8192 / 0.3)):
        slow = [metric(np.repeat(masks, w, 0), np.repeat(maps, w, 0)) for w in weights]
        assert found[name][1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=error)
        assert found[name].low < found[name].mean < found[name].high


@pytest.mark.parametrize("size, levels, error", [(8, 3, 1e-12), (24, 9, 1 / 8192), (24, 1, 1 / 8192)])
def test_intervals_of_tied_maps_equal_the_slow_bootstrap(size, levels, error):
    """Few distinct scores, defects among and between them: in few pixels resamples are exact, in many to the bound."""
    masks, maps = drawn(size=size + 1)
    maps = np.round(maps * levels / 3) + 0.5 * (masks & (maps > 0.5))
    found = statistics.pixel_intervals(masks, maps, resamples=50, seed=3)
    weights = statistics._weights(masks.any((1, 2)), 50, 3).astype(int)
    for metric, name, bound in ((pixel_auroc, "pixel AUROC", error), (aupro, "AUPRO", error / 0.3)):
        slow = [metric(np.repeat(masks, w, 0), np.repeat(maps, w, 0)) for w in weights]
        assert found[name][1:] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=bound)


def test_intervals_shrink_with_more_images():
    masks, maps = drawn()
    few = statistics.pixel_intervals(masks, maps)
    many = statistics.pixel_intervals(np.tile(masks, (9, 1, 1)), np.tile(maps, (9, 1, 1)))
    for name in few:
        assert many[name].mean == pytest.approx(few[name].mean)
        assert many[name].high - many[name].low < 0.5 * (few[name].high - few[name].low)


def test_intervals_of_images_of_several_sizes():
    masks, maps = drawn()
    pieces = [m[:20] for m in masks[:6]] + [m[:, :16] for m in masks[6:]]
    heats = [m[:20] for m in maps[:6]] + [m[:, :16] for m in maps[6:]]
    found = statistics.pixel_intervals(pieces, heats, resamples=50)
    assert {name: interval.mean for name, interval in found.items()} == {
        "pixel AUROC": pixel_auroc(pieces, heats),
        "AUPRO": aupro(pieces, heats),
    }


# ---- the old names ----


@pytest.mark.parametrize("name", sorted(metrics.MOVED))
def test_the_old_names_in_metrics_warn_and_work(name):
    with pytest.warns(DeprecationWarning, match=rf"fcdd.metrics.{name} is now fcdd_study.statistics.{name}; the old"):
        assert getattr(metrics, name) is getattr(statistics, name)


def test_metrics_has_no_other_names():
    with pytest.raises(AttributeError, match="module 'fcdd.metrics' has no attribute 'nonsense'"):
        metrics.nonsense  # noqa: B018

"""Published values with their sources, verdicts on them, and statistics that agree with what others computed."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

import fcdd_study as study
from fcdd import datasets
from fcdd_study import protocol, records, verdicts

ENTRIES = yaml.safe_load(verdicts.PUBLISHED.read_text(encoding="utf-8"))
TABLES = [(entry, measure) for entry in ENTRIES for measure in verdicts.MEASURES if measure in entry]
CLASSES = ["a", "b", "c"]


# ---- data/published.yml ----


def test_every_value_has_a_source_and_a_known_confidence():
    table = study.published(None)
    columns = {"dataset", "method", "setting", "record", "measure", "normal", "value", "source", "citation"}
    assert columns | {"confidence"} == set(table.columns)
    assert table[["source", "citation"]].map(len).to_numpy().min() > 0
    assert set(table["confidence"]) <= {"S1", "S2", "R", "I"}
    assert len(table) > 400 and table["value"].between(0.3, 1).all()
    assert not table.duplicated(["dataset", "method", "setting", "measure", "normal", "source"]).any()
    assert verdicts.PUBLISHED == records.ROOT / "data" / "published.yml"


def test_citations_are_in_the_book_s_bibliography():
    keys = re.findall(r"^@\w+\{(\S+),", (records.ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M)
    assert len(keys) == len(set(keys))
    assert {entry["citation"] for entry in ENTRIES} <= set(keys)


@pytest.mark.parametrize("entry, measure", TABLES, ids=lambda part: part if isinstance(part, str) else part["method"])
def test_tables_are_complete_and_agree_with_their_own_means(entry, measure):
    """All classes, in the data set's order. The papers round cells and means to two digits: .01 apart is allowed."""
    assert list(entry[measure]) == datasets.classes(entry["dataset"])
    if "mean" in entry:
        assert abs(np.mean(list(entry[measure].values())) - entry["mean"][measure]) < 0.01


def test_means_of_inferred_columns_are_those_of_the_paper_s_first_table():
    """By these means the columns were told apart."""
    table = study.published().query("confidence == 'I'").groupby(["dataset", "method", "setting"])["value"].mean()
    exposed = {"focal": 0.87, "geo-plus": 0.96, "deep-sad": 0.95}
    wanted = {("cifar10", method, "outlier exposure"): mean for method, mean in exposed.items()}
    wanted |= {("cifar10", "deep-svdd", ""): 0.65, ("cifar10", "geo", ""): 0.86, ("cifar10", "geo-plus", ""): 0.90}
    wanted |= {
        ("cifar10", "hsc", ""): 0.96,
        ("fashion-mnist", "deep-svdd", ""): 0.93,
        ("fashion-mnist", "geo", ""): 0.94,
    }
    assert set(table.index) == set(wanted)
    assert all(abs(table[key] - mean) < 0.01 for key, mean in wanted.items())


def test_records_named_beside_an_entry_are_runs_that_there_can_be():
    for label in filter(None, study.published(None)["record"]):
        method, *changes = label.split("+")
        names = {change.split("=")[0] for change in changes}
        if method in protocol.METHODS:
            assert names <= {*protocol.OF_THE_SPLIT, *inspect.signature(protocol.estimator(method)).parameters}
        else:  # methods that the library lacks stand beside nothing
            assert method in set(study.published(None)["method"]) and not names


# ---- verdicts ----


def runs(values, dataset="toy", method="fcdd", **columns):
    """A table of runs from {class: values of the seeds 0, 1, …}."""
    rows = [
        {"dataset": dataset, "method": method, "normal": normal, "seed": seed, "auroc": value, "stale": ""} | columns
        for normal, each in values.items()
        for seed, value in enumerate(each)
    ]
    return pd.DataFrame(rows)


def cells(values, dataset="toy", method="fcdd", confidence="S1", record=None, measure="auroc"):
    head = {"dataset": dataset, "method": method, "setting": "", "measure": measure, "source": "s", "citation": "c"}
    head |= {"record": method if record is None else record, "confidence": confidence}
    return pd.DataFrame([{**head, "normal": normal, "value": value} for normal, value in values.items()])


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    known = datasets.classes
    monkeypatch.setattr(datasets, "classes", lambda name: CLASSES if name == "toy" else known(name))


def test_four_verdicts():
    recorded = runs({"a": [0.80, 0.82], "b": [0.70, 0.90], "c": [0.700, 0.701]})
    table = verdicts.verdicts(recorded, cells({"a": 0.83, "b": 0.90, "c": 0.75, "d": 0.9}), why={}).set_index("normal")
    assert list(table["verdict"]) == ["reproduced", "within noise", "not reproduced", "not run"]
    assert list(table["seeds"]) == [2, 2, 2, 0]
    np.testing.assert_allclose(table["difference"][:3], [-0.02, -0.1, -0.0495])
    assert table.loc["d", ["ours", "low", "high", "spread", "difference"]].isna().all()


def test_one_seed_has_no_noise_to_hide_in():
    table = verdicts.verdicts(runs({"a": [0.80]}), cells({"a": 0.83}), why={})
    assert table.loc[0, "verdict"] == "not reproduced" and np.isnan([table.loc[0, "low"], table.loc[0, "spread"]]).all()


def test_the_interval_is_student_s():
    values = [0.81, 0.84, 0.86]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(verdicts.t_interval(values), [np.mean(values), low, high])


def test_student_s_interval_holds_the_mean_as_often_as_it_says_and_a_bootstrap_of_three_does_not():
    draws = np.random.default_rng(0).normal(0.8, 0.02, (2000, 3))
    inside = [low <= 0.8 <= high for _, low, high in map(verdicts.t_interval, draws)]
    assert 0.93 < np.mean(inside) < 0.97
    assert np.mean((draws.min(1) <= 0.8) & (draws.max(1) >= 0.8)) < 0.8  # the widest that a bootstrap can become


def test_a_mean_is_over_all_classes_and_over_seeds_that_have_them():
    recorded = runs({"a": [0.6, 0.8, 0.1], "b": [0.7, 0.9], "c": [0.8, 1.0]})
    table = verdicts.verdicts(recorded, cells({"mean": 0.8}), why={})
    assert table.loc[0, "seeds"] == 2 and table.loc[0, "verdict"] == "reproduced"
    np.testing.assert_allclose(table.loc[0, "ours"], 0.8)
    np.testing.assert_allclose(table.loc[0, "spread"], np.std([0.7, 0.9], ddof=1))
    without = recorded[recorded["normal"] != "c"]
    assert verdicts.verdicts(without, cells({"mean": 0.8}), why={}).loc[0, "verdict"] == "not run"


def test_only_what_a_paper_printed_is_a_target_and_reruns_stand_beside_it():
    published = pd.concat([cells({"a": 0.8}), cells({"a": 0.7}, confidence="R"), cells({"b": 0.9}, confidence="I")])
    table = verdicts.verdicts(runs({"a": [0.8], "b": [0.9]}), published, why={})
    assert list(table["normal"]) == ["a"] and table.loc[0, "rerun"] == 0.7


def test_an_entry_is_held_against_the_runs_it_names_and_by_its_measure():
    recorded = pd.concat([runs({"a": [0.5]}), runs({"a": [0.9]}, method="fcdd-semi", pixel_auroc=0.95)])
    published = cells({"a": 0.95}, record="fcdd-semi", measure="pixel_auroc")
    table = verdicts.verdicts(recorded, published, why={})
    assert table.loc[0, "ours"] == 0.95 and table.loc[0, "verdict"] == "reproduced"
    for nothing in (cells({"a": 0.95}, record=""), cells({"a": 0.95}, measure="image_auroc")):
        assert verdicts.verdicts(recorded, nothing, why={}).loc[0, "verdict"] == "not run"
    assert (
        verdicts.verdicts(runs({}).reindex(columns=records.COLUMNS), published, why={}).loc[0, "verdict"] == "not run"
    )


def test_reasons_are_of_the_class_or_of_all_and_only_for_what_was_not_reached():
    why = {("toy", "fcdd", ""): "short schedule", ("toy", "fcdd", "b"): "few outliers"}
    recorded = runs({"a": [0.5], "b": [0.5], "c": [0.8]})
    table = verdicts.verdicts(recorded, cells({"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.8}), why=why)
    assert list(table["reason"]) == ["short schedule", "few outliers", "", "short schedule"]


def test_stale_runs_are_counted():
    recorded = pd.concat([runs({"a": [0.8, 0.8]}, stale="code"), runs({"b": [0.8]}), runs({"c": [0.8, 0.8]})])
    table = verdicts.verdicts(recorded, cells({"a": 0.8, "b": 0.8, "mean": 0.8}), why={})
    assert list(table["stale"]) == [2, 0, 2]


def test_reasons_file_names_known_cells():
    known = study.published(None)
    cells = set(zip(known["dataset"], known["record"].where(known["record"] != "", known["method"]), strict=True))
    for dataset, method, normal in verdicts.reasons():
        assert (dataset, method) in cells and normal in ("", "mean", *datasets.classes(dataset))


def test_verdicts_on_the_committed_records():
    """What chapter 08 shows can be made, whatever records there are."""
    table = verdicts.verdicts(study.table(study.COMMITTED, "full"), study.published(None))
    assert set(table["verdict"]) <= set(verdicts.VERDICTS)
    done = table[table["verdict"] != "not run"]
    assert done["ours"].between(0, 1).all() and (done["seeds"] > 0).all()


# ---- methods beside each other ----


def ranked(seed=0, methods=4, splits=8):
    scores = np.random.default_rng(seed).uniform(0.5, 1, (splits, methods)).round(2) + np.arange(methods) / 20
    names = [f"m{k}" for k in range(methods)]
    parts = [
        runs({f"s{i}": [s] for i, s in enumerate(column)}, method=m) for m, column in zip(names, scores.T, strict=True)
    ]
    return scores, pd.concat(parts, ignore_index=True)


def test_comparison_equals_scipy_s_tests():
    scores, table = ranked()
    compared = verdicts.compare(table)
    assert compared.splits == 8 and compared.friedman == stats.friedmanchisquare(*scores.T).pvalue
    np.testing.assert_allclose(compared.ranks, stats.rankdata(-scores, axis=1).mean(0))
    pair = compared.pairs.set_index(["first", "second"]).loc[("m0", "m3")]
    assert pair["p"] == stats.wilcoxon(scores[:, 0], scores[:, 3]).pvalue
    gap = scores[:, 0] - scores[:, 3]
    assert pair["low"] < pair["difference"] < pair["high"] and pair["better"] == (gap > 0).sum()
    np.testing.assert_allclose(pair["difference"], gap.mean())
    assert len(compared.pairs) == 6 and (compared.pairs["p_holm"] >= compared.pairs["p"]).all()


def test_critical_values_are_demsar_s():
    """Table 5a of Demšar 2006, for 2 to 10 methods at .05, and its worked example: four methods, 14 data sets."""
    q = [verdicts.critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) for k in range(2, 11)]
    np.testing.assert_allclose(q, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164], atol=0.0011)
    np.testing.assert_allclose(verdicts.critical_difference(4, 14), 1.25, atol=0.005)


def test_holm_by_hand():
    np.testing.assert_allclose(verdicts.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(verdicts.holm([0.9, 0.6]), [1, 1])


def test_ten_methods_are_compared_with_the_chosen_one():
    """One method is the best on each of ten splits. All 45 pairs together could not say so: 45 · 2 / 2¹⁰ > .05."""
    _, table = ranked(methods=10, splits=10)
    table.loc[table["method"] == "m9", "auroc"] += 1
    compared = verdicts.compare(table, to="m9")
    assert set(compared.pairs["first"]) == {"m9"} and len(compared.pairs) == 9
    assert (compared.pairs["better"] == 10).all() and compared.pairs["p_holm"].max() < 0.05
    assert verdicts.compare(table).pairs["p_holm"].min() > 0.05
    with pytest.raises(ValueError, match="expected one of the methods to compare with, m0, .*, got to='m10'"):
        verdicts.compare(table, to="m10")


def test_runs_of_two_profiles_are_not_averaged():
    """The seeds 0 and 1 of the one and the seed 0 of the other are three runs, and no two of them make a mean."""
    both = pd.concat([runs({"a": [0.5, 0.6], "b": [0.5, 0.6]}, profile="full"),
                      runs({"a": [0.9], "b": [0.9]}, profile="quick")])  # fmt: skip
    for call in (
        lambda: verdicts.of_seeds(both, "toy", "fcdd", "a"),
        lambda: verdicts.compare(pd.concat([both, runs({"a": [0.5], "b": [0.5]}, method="hsc", profile="full")])),
    ):
        with pytest.raises(
            ValueError, match=r"expected runs of one profile, got full, quick; choose one, as in table\["
        ):
            call()
    chosen = both[both["profile"] == "full"]
    assert list(verdicts.of_seeds(chosen, "toy", "fcdd", "a")) == [0.5, 0.6]


def test_seeds_are_averaged_and_only_common_splits_count():
    table = pd.concat([runs({"a": [0.5, 0.7], "b": [0.8], "c": [0.9]}), runs({"a": [0.6], "b": [0.6]}, method="hsc")])
    compared = verdicts.compare(table)
    assert compared.splits == 2 and np.isnan(compared.friedman)
    assert list(compared.ranks) == [1.25, 1.75] and compared.pairs.loc[0, "better"] == 1


def test_equal_methods_do_not_differ():
    same = {"a": [0.5], "b": [0.7], "c": [0.9]}
    compared = verdicts.compare(pd.concat([runs(same), runs(same, method="hsc")]))
    assert compared.pairs.loc[0, "p"] == 1 and compared.pairs.loc[0, "difference"] == 0


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="got 1 methods .fcdd. and 3 splits"):
        verdicts.compare(runs({"a": [0.5], "b": [0.7], "c": [0.9]}))
    apart = pd.concat([runs({"a": [0.5], "b": [0.5]}), runs({"c": [0.5], "d": [0.5]}, method="hsc")])
    with pytest.raises(ValueError, match="fcdd, hsc. and 0 splits; make the missing runs"):
        verdicts.compare(apart)

"""Published values with their sources, verdicts on them, and statistics that agree with what others computed."""

import inspect
import json
import math
import re
import statistics

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
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
    assert columns | {"confidence", "digits", "protocol"} == set(table.columns)
    assert table[["source", "citation"]].map(len).to_numpy().min() > 0
    assert set(table["confidence"]) <= {"S1", "S2", "R", "I", "M"}
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


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['dataset']} {entry['method']}")
def test_no_value_has_more_digits_than_the_paper_prints_and_a_table_has_one_with_them_all(entry):
    values = [value for measure in verdicts.MEASURES for value in entry.get(measure, {}).values()]
    places = [len(repr(value).split(".")[1]) for value in values + list(entry.get("mean", {}).values())]
    assert max(places) <= entry["digits"] and (len(values) == 0 or max(places) == entry["digits"])


def test_targets_say_what_is_known_of_their_protocol_and_by_names_that_runs_have_too():
    names = {"data", "exposure", "exposure_images", "network", "epochs", "pretrain_epochs", "seeds"}
    for entry in ENTRIES:
        assert entry["protocol"] and set(entry["protocol"]) <= names, entry["source"]


def test_the_profile_that_follows_the_papers_differs_from_them_in_seeds_at_most():
    """published.yml and profiles.yml were written apart: for FCDD and Deep SVDD they must say the same."""
    followed = {"fcdd", "fcdd-semi", "deep-svdd"}
    checked = 0
    for entry in ENTRIES:
        known, method = entry.get("protocol", {}), entry.get("record", entry["method"])
        if entry["dataset"] not in protocol.PROFILES["paper"] or method not in followed or "seeds" not in known:
            continue
        if entry["confidence"] not in verdicts.TARGETS:
            continue
        runs = protocol.runs("paper", [method], dataset=entry["dataset"])
        run = runs[0]
        recorded = {"base": run.method, "settings": run.settings, "changes": {}, "source": "somewhere",
                    "selection": run.selection}  # fmt: skip
        recorded["exposure_images"] = {"cifar100": 50_000}.get(run.settings.get("exposure"))  # all of it
        seeds = len({each.seed for each in runs})
        assert set(verdicts.differing([verdicts.conducted(recorded)], seeds, known)[0]) <= {"seeds"}, entry["source"]
        checked += 1
    assert checked == 6


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
    head = {"dataset": dataset, "method": method, "base": method.split("+")[0], "changes": {}, "stale": ""}
    head |= {"settings": {"exposure": "cifar100", "network": "small", "epochs": 20}, "source": "somewhere"}
    head |= {"selection": {"dataset": dataset, "train": None, "test": None, "options": {}}}
    rows = [
        {**head, "normal": normal, "seed": seed, "auroc": value} | columns
        for normal, each in values.items()
        for seed, value in enumerate(each)
    ]
    return pd.DataFrame(rows)


def cells(values, dataset="toy", method="fcdd", confidence="S1", record=None, measure="auroc", **protocol):
    head = {"dataset": dataset, "method": method, "setting": "", "measure": measure, "source": "s", "citation": "c"}
    head |= {"record": method if record is None else record, "confidence": confidence}
    head |= {"digits": 2, "protocol": protocol}
    return pd.DataFrame([{**head, "normal": normal, "value": value} for normal, value in values.items()])


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    known = datasets.classes
    monkeypatch.setattr(datasets, "classes", lambda name: CLASSES if name == "toy" else known(name))


def spread_out(mean, half, seeds):
    """Values of so many seeds, with this mean and an interval of this half-width."""
    values = np.arange(seeds) - (seeds - 1) / 2
    return list(mean + values * half / (stats.t.ppf(0.95, seeds - 1) * stats.sem(values)))


EDGES = [  # ours minus published, half-width, seeds, verdict; two printed digits: .025 counts as equal
    (0.0, 0.0, 2, "reproduced"),
    (0.025, 0.0149, 3, "reproduced"),
    (-0.025, 0.0149, 3, "reproduced"),
    (0.025, 0.0151, 3, "undecided"),  # reaches out of .04, with the value not inside
    (0.0, 0.0399, 2, "reproduced"),
    (0.0, 0.0401, 3, "undecided"),
    (0.0, 0.0401, 9, "undecided"),  # no number of seeds excuses a width above .03
    (0.0251, 0.0149, 3, "not reproduced"),
    (0.0251, 0.0299, 5, "within noise"),
    (-0.0251, 0.0299, 5, "within noise"),
    (0.0251, 0.0299, 4, "undecided"),  # inside, of too few seeds
    (0.0251, 0.0249, 5, "not reproduced"),  # the published value just outside
    (0.0299, 0.0301, 5, "undecided"),  # inside, too wide
    (0.0550, 0.0301, 5, "undecided"),  # not inside, too wide, and what counts as equal is reached
    (0.0552, 0.0301, 5, "not reproduced"),
    (0.3, 0.2, 3, "not reproduced"),  # wide, and far from all that counts as equal
]


@pytest.mark.parametrize(("difference", "half", "seeds", "verdict"), EDGES)
def test_the_rule_at_its_edges(difference, half, seeds, verdict):
    assert verdicts.judge(difference, half, seeds, 0.025) == verdict
    recorded = runs({"a": spread_out(0.6 + difference, half, seeds)})
    row = verdicts.verdicts(recorded, cells({"a": 0.6}), why={}).loc[0]
    assert row["verdict"] == verdict and row["seeds"] == seeds
    np.testing.assert_allclose([row["low"], row["high"]], 0.6 + difference + np.array([-half, half]))


def test_the_last_printed_digit_widens_what_counts_as_equal():
    recorded, published = runs({"a": [0.8249, 0.8249]}), cells({"a": 0.8})
    assert verdicts.verdicts(recorded, published, why={}).loc[0, "verdict"] == "reproduced"
    finer = published.assign(digits=3)
    assert verdicts.verdicts(recorded, finer, why={}).loc[0, "verdict"] == "not reproduced"


def test_what_was_not_run_and_what_has_one_seed():
    table = verdicts.verdicts(runs({"a": [0.80]}), cells({"a": 0.8, "b": 0.8}), why={}).set_index("normal")
    assert list(table["verdict"]) == ["undecided", "not run"] and list(table["seeds"]) == [1, 0]
    assert table.loc["a", ["low", "high", "spread", "to_decide"]].isna().all()
    assert table.loc["b", ["ours", "low", "high", "spread", "difference"]].isna().all()
    assert table.loc["b", ["differs", "unknown", "reason"]].eq("").all()


@given(st.floats(-0.2, 0.2), st.floats(0.0, 0.2), st.integers(2, 12))
def test_the_rule_against_its_words(difference, half, seeds):
    verdict = verdicts.judge(difference, half, seeds, 0.025)
    apart = abs(difference)
    assert verdict == verdicts.judge(-difference, half, seeds, 0.025)
    if min(abs(apart - edge) for edge in (0.025, half, 0.04 - half, half + 0.025)) < 1e-6 or abs(half - 0.03) < 1e-6:
        return  # on an edge: the table above
    assert (verdict == "reproduced") == (apart < 0.025 and apart + half < 0.04)
    noise = seeds >= 5 and half < 0.03 and apart < half
    assert (verdict == "within noise") == (noise and verdict != "reproduced")
    if verdict == "not reproduced":  # no narrower interval about the same mean would be called equal
        assert apart > 0.025
    if verdict == "undecided" and seeds >= 5:
        assert half > 0.03 or apart < 0.025


@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.2), st.integers(2, 6))
def test_the_seeds_that_would_decide_are_the_first_that_do(difference, spread, seeds):
    def at(n):
        return verdicts.judge(difference, stats.t.ppf(0.95, n - 1) * spread / math.sqrt(n), n, 0.025)

    more = verdicts.seeds_to_decide(difference, spread, seeds, 0.025)
    assert more > seeds and at(int(more)) != "undecided"
    assert more == seeds + 1 or at(int(more) - 1) == "undecided"


def test_swapped_values_change_the_verdicts():
    published = cells({"a": 0.9, "b": 0.6})
    fair, swapped = runs({"a": [0.9, 0.9], "b": [0.6, 0.6]}), runs({"b": [0.9, 0.9], "a": [0.6, 0.6]})
    assert set(verdicts.verdicts(fair, published, why={})["verdict"]) == {"reproduced"}
    assert set(verdicts.verdicts(swapped, published, why={})["verdict"]) == {"not reproduced"}


# ---- what differs in the protocol ----


def paper(**other):
    return {"data": "official", "exposure": "cifar100", "network": "small", "epochs": 20, "seeds": 2} | other


LARGE = {"train": None, "test": None, "options": {"size": [256, 256]}}


@pytest.mark.parametrize(
    ("changed", "theirs", "differs"),
    [
        ({}, {}, ""),
        ({"source": "cifar10 (a copy as pictures, not the official batches)"}, {}, "data"),
        ({"source": "cifar10_sheets.tar (the official images as lossless sheets)"}, {}, ""),
        ({"selection": {"train": 100, "test": None}}, {}, "data"),
        ({"selection": LARGE}, {}, "data"),
        ({"selection": LARGE}, {"data": "official, 256 × 256"}, ""),
        ({}, {"exposure": "tiny-images-80m", "epochs": 200, "seeds": 10}, "exposure, schedule, seeds"),
        ({"settings": {"exposure": None, "network": "large", "epochs": 20}}, {}, "exposure, network"),
        ({"settings": {"exposure": None, "network": "small", "epochs": 20}}, {"exposure": "none"}, ""),
        ({"exposure_images": 25_000}, {"exposure_images": 50_000}, "part of the exposure"),
        ({"exposure_images": 50_000.0}, {"exposure_images": 50_000}, ""),
        ({"exposure_images": 25_000}, {"exposure_images": 79_302_017, "exposure": "tiny-images-80m"}, "exposure"),
        ({"cut_epochs": 7.0}, {}, "schedule"),
        ({"cut_epochs": float("nan"), "exposure_images": None}, {}, ""),
        ({"settings": {}}, {"exposure": "photographs", "network": "fcdd_cnn28", "epochs": 20}, ""),  # the defaults
    ],
)  # fmt: skip
def test_differences_come_from_the_records(changed, theirs, differs):
    recorded = runs({"a": [0.8, 0.8]}, **changed)
    row = verdicts.verdicts(recorded, cells({"a": 0.8}, **paper(**theirs)), why={}).loc[0]
    assert row["differs"] == differs and row["unknown"] == "" and row["verdict"] == "reproduced"


def test_what_no_paper_says_is_unknown_and_neither_alike_nor_different():
    row = verdicts.verdicts(runs({"a": [0.8, 0.8]}), cells({"a": 0.8}, exposure="cifar100"), why={}).loc[0]
    assert row["differs"] == "" and row["unknown"] == "data, network, schedule, seeds"


def test_one_run_behind_a_mean_that_differs_makes_the_mean_differ():
    recorded = pd.concat(
        [runs({"a": [0.8, 0.8], "b": [0.8, 0.8]}), runs({"c": [0.8, 0.8]}, source="x (not the official)")]
    )
    table = verdicts.verdicts(recorded, cells({"a": 0.8, "mean": 0.8}, **paper()), why={})
    assert list(table["differs"]) == ["", "data"]


def test_both_answers_are_counted_and_no_mean_beside_its_classes():
    recorded = runs({"a": [0.8, 0.8], "b": [0.5, 0.5], "c": [0.8]})
    lone = cells({"mean": 0.7}, **paper()).assign(setting="alone")
    published = pd.concat([cells({"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.8, "mean": 0.8}, **paper(epochs=400)), lone])
    table = verdicts.verdicts(recorded, published, why={})
    assert list(table["counted"]) == [True] * 4 + [False, True]
    counts = verdicts.counts(table)
    assert list(counts.index) == [*verdicts.VERDICTS, "all"]
    assert list(counts["cells"]) == [1, 0, 2, 1, 1, 5]  # the mean over all three has one seed
    assert list(counts["schedule"]) == [1, 0, 1, 1, 0, 3] and counts.loc["undecided", "seeds"] == 2
    assert counts.loc["all", ["data", "unknown", "no difference known"]].eq(0).all()


@pytest.fixture(scope="module")
def committed():
    """The verdicts on the committed records, as chapter 08 shows them."""
    everything = study.table(study.COMMITTED)
    return verdicts.verdicts(verdicts.nearest(everything), study.published(None), experiments=everything)


@pytest.mark.parametrize("picked", range(10))
def test_ten_cells_by_another_path(picked, committed):
    """From the raw JSON of the records with nothing but Python's statistics, by the words of the rule."""
    ran = committed[(committed["verdict"] != "not run") & (committed["normal"] != "mean")]
    row = ran.iloc[picked * len(ran) // 10]
    for profile in ("card", "full"):  # the nearest to the papers that has the method
        places = study.COMMITTED.glob(f"{profile}/{row['dataset']}/{row['record']}/*.json")
        if found := [json.loads(path.read_text()) for path in places]:
            break
    found = [r for r in found if r["run"]["normal"] == row["normal"]]
    values = {r["run"]["seed"]: r["metrics"][row["measure"]] for r in found if not r["run"]["changes"]}
    names = ["dataset", "source", "method", "setting"]
    entry = next(
        e for e in ENTRIES
        if [e["dataset"], e["source"], e["method"], e.get("setting", "")] == list(row[names])
    )  # fmt: skip
    published, n = entry[row["measure"]][row["normal"]], len(values)
    assert row["seeds"] == n and row["published"] == published
    apart = abs(statistics.fmean(values.values()) - published)
    if n == 1:
        expected = "undecided"
    else:
        quantile = {2: 6.3138, 3: 2.9200, 4: 2.3534, 5: 2.1318, 6: 2.0150, 10: 1.8331}[n]  # t, .95, printed
        half = quantile * statistics.stdev(values.values()) / n**0.5
        equal = 0.02 + 0.5 / 10 ** entry["digits"]
        inside = apart <= half
        if apart <= equal and apart + half <= 0.04:
            expected = "reproduced"
        elif inside and n >= 5 and half <= 0.03:
            expected = "within noise"
        elif apart <= equal or (inside and n < 5) or (half > 0.03 and apart - half <= equal):
            expected = "undecided"
        else:
            expected = "not reproduced"
    assert row["verdict"] == expected
    made = next(r for r in found if not r["run"]["changes"])
    known = entry["protocol"]
    if "epochs" in known:
        assert ("schedule" in row["differs"]) == (made["settings"]["epochs"] != known["epochs"])
    if "seeds" in known:
        assert ("seeds" in row["differs"]) == (n != known["seeds"])


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
    assert table.loc[0, "seeds"] == 2 and table.loc[0, "verdict"] == "undecided"
    np.testing.assert_allclose(table.loc[0, "ours"], 0.8)
    np.testing.assert_allclose(table.loc[0, "spread"], np.std([0.7, 0.9], ddof=1))
    without = recorded[recorded["normal"] != "c"]
    assert verdicts.verdicts(without, cells({"mean": 0.8}), why={}).loc[0, "verdict"] == "not run"


def test_only_what_a_paper_printed_is_a_target_and_reruns_stand_beside_it():
    published = pd.concat([cells({"a": 0.8}), cells({"a": 0.7}, confidence="R"), cells({"b": 0.9}, confidence="I"),
                           cells({"a": 0.6, "b": 0.9}, confidence="M")])  # fmt: skip
    table = verdicts.verdicts(runs({"a": [0.8], "b": [0.9]}), published, why={})
    assert list(table["normal"]) == ["a"] and table.loc[0, "rerun"] == 0.7 and table.loc[0, "remembered"] == 0.6


def test_an_entry_is_held_against_the_runs_it_names_and_by_its_measure():
    recorded = pd.concat([runs({"a": [0.5]}), runs({"a": [0.9, 0.9]}, method="fcdd-semi", pixel_auroc=0.95)])
    published = cells({"a": 0.95}, record="fcdd-semi", measure="pixel_auroc")
    table = verdicts.verdicts(recorded, published, why={})
    assert table.loc[0, "ours"] == 0.95 and table.loc[0, "verdict"] == "reproduced"
    for nothing in (cells({"a": 0.95}, record=""), cells({"a": 0.95}, measure="image_auroc")):
        assert verdicts.verdicts(recorded, nothing, why={}).loc[0, "verdict"] == "not run"
    assert (
        verdicts.verdicts(runs({}).reindex(columns=records.COLUMNS), published, why={}).loc[0, "verdict"] == "not run"
    )


def test_a_reason_is_shown_only_while_its_experiment_shows_it():
    why = {("toy", "fcdd", ""): verdicts.Reason("short schedule", "fcdd+epochs=60")}
    why |= {("toy", "fcdd", "b"): verdicts.Reason("few outliers", "fcdd+exposure=cifar100")}
    recorded = runs({"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.8, 0.8]})
    longer = runs({"a": [0.81], "b": [0.81]}, method="fcdd+epochs=60")
    published = cells({"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.8})

    def shown(*tables):
        return list(verdicts.verdicts(pd.concat(tables), published, why=why)["reason"])

    unknown = "cause unknown"
    assert shown(recorded, longer) == ["short schedule (fcdd+epochs=60: 0.810, one seed)", unknown, "", ""]
    assert shown(recorded) == [unknown, unknown, "", ""]
    tried = f"{unknown} (tried fcdd+epochs=60: 0.700, one seed)"
    assert shown(recorded, longer.assign(auroc=0.7)) == [tried, unknown, "", ""]  # nearer is no reason yet
    with_more = runs({"b": [0.79]}, method="fcdd+exposure=cifar100")
    assert shown(recorded, with_more)[1] == "few outliers (fcdd+exposure=cifar100: 0.790, one seed)"


def test_an_experiment_may_be_of_another_profile_and_may_say_what_it_is_not():
    recorded = runs({"a": [0.5, 0.5], "b": [0.5, 0.5]}, profile="full")
    everything = pd.concat([recorded, runs({"a": [0.80, 0.81], "b": [0.80, 0.81]}, profile="check")])
    why = {("toy", "fcdd", "a"): verdicts.Reason("too short", "check/fcdd")}
    why |= {("toy", "fcdd", "b"): verdicts.Reason("", "check/fcdd")}
    published = cells({"a": 0.8, "b": 0.8})
    shown = verdicts.verdicts(recorded, published, why=why, experiments=everything)
    assert list(shown["reason"]) == ["too short (check/fcdd: 0.805)", "cause unknown (tried check/fcdd: 0.805)"]
    assert set(verdicts.verdicts(recorded, published, why=why)["reason"]) == {"cause unknown"}


def test_a_reason_without_an_experiment_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(verdicts, "REASONS", tmp_path / "reasons.yml")
    verdicts.REASONS.write_text("- {dataset: mnist, method: fcdd, normal: 7, reason: because}")
    with pytest.raises(ValueError, match="to name the experiment that shows it, got none for mnist fcdd 7; add"):
        verdicts.reasons()


def test_stale_runs_are_counted():
    recorded = pd.concat([runs({"a": [0.8, 0.8]}, stale="code"), runs({"b": [0.8]}), runs({"c": [0.8, 0.8]})])
    table = verdicts.verdicts(recorded, cells({"a": 0.8, "b": 0.8, "mean": 0.8}), why={})
    assert list(table["stale"]) == [2, 0, 2]


def test_reasons_file_names_known_cells():
    known = study.published(None)
    cells = set(zip(known["dataset"], known["record"].where(known["record"] != "", known["method"]), strict=True))
    for (dataset, method, normal), reason in verdicts.reasons().items():
        assert (dataset, method) in cells and normal in ("", "mean", *datasets.classes(dataset))
        assert (
            reason.experiment.rpartition("/")[2].split("+")[0] == method.split("+")[0] and reason.experiment != method
        )


def test_each_reason_of_the_file_is_shown(committed):
    """Of a cell that is reproduced by now, or of an experiment that is not recorded, an entry says nothing."""
    missed = committed[committed["verdict"] == "not reproduced"]
    for (dataset, method, normal), reason in verdicts.reasons().items():
        rows = missed[
            missed["dataset"].eq(dataset)
            & missed["record"].eq(method)
            & missed["normal"].isin([normal] if normal else missed["normal"])
        ]
        assert rows["reason"].str.contains(reason.experiment, regex=False).any(), (dataset, method, normal)
        assert not reason.text or rows["reason"].str.contains(reason.text, regex=False).any(), (dataset, method, normal)


def test_verdicts_on_the_committed_records(committed):
    """What chapter 08 shows can be made, whatever records there are."""
    assert set(committed["verdict"]) <= set(verdicts.VERDICTS)
    done = committed[committed["verdict"] != "not run"]
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


def test_the_interval_over_seeds_is_the_paired_one_of_scipy_with_classes_fixed():
    first, second = np.random.default_rng(0).uniform(0.7, 0.9, (2, 3, 4))  # classes, seeds
    both = [runs(dict(zip("abc", values, strict=True)), method=m) for m, values in (("fcdd", first), ("hsc", second))]
    pair = verdicts.compare(pd.concat(both), to="fcdd").pairs.loc[0]
    wanted = stats.ttest_rel(first.mean(0), second.mean(0)).confidence_interval(0.95)
    np.testing.assert_allclose([pair["seeds_low"], pair["seeds_high"]], wanted)
    assert pair["seeds"] == 4
    # Classes far apart, seeds alike: these classes are known well, a new one is not.
    far = runs({"a": [0.5, 0.51, 0.5], "b": [0.7, 0.7, 0.71], "c": [0.9, 0.91, 0.9]})
    level = runs(dict.fromkeys("abc", [0.6, 0.6, 0.6]), method="hsc")
    pair = verdicts.compare(pd.concat([far, level]), to="fcdd").pairs.loc[0]
    assert pair["high"] - pair["low"] > 10 * (pair["seeds_high"] - pair["seeds_low"])


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


def test_a_cell_is_judged_by_the_profile_nearest_to_the_paper():
    rows = [
        ("full", "a", "hsc"),
        ("full", "a", "fcdd"),
        ("card", "a", "fcdd"),
        ("check", "a", "svdd"),
        ("full", "b", "fcdd"),
    ]
    table = pd.DataFrame(rows, columns=["profile", "dataset", "method"])
    kept = verdicts.nearest(table)
    assert [*kept.itertuples(index=False, name=None)] == [rows[0], rows[2], rows[4]]
    assert verdicts.nearest(table[:0]).empty

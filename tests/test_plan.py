"""The plan of a profile: everything once, in its order, with hours that follow from recorded seconds."""

import pytest

import fcdd_study as study
from fcdd_study import grid, plan, protocol, records


def test_every_part_of_a_planned_profile_is_in_one_step():
    for profile in set(plan.PLAN) & set(protocol.PROFILES):
        listed = [step.part for step in plan.steps(profile)]
        named = [(part.profile, part.dataset, name) for part in listed for name in (*part.methods, *part.ablations)]
        assert len(named) == len(set(named))
        for dataset in protocol.data_sets(profile):
            entry = protocol.profile(profile, dataset)
            assert {(profile, dataset, name) for name in (*entry["methods"], *entry["ablations"])} <= set(named)


def test_a_profile_without_a_plan_goes_in_its_own_order():
    assert [step.part.dataset for step in plan.steps("smoke")] == protocol.data_sets("smoke")
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        plan.steps("huge")


def test_what_waits_is_run_when_it_is_named_only():
    later = {step.command for step in plan.steps("full") if step.later}
    schedules = "schedule-deep-sad,schedule-autoencoder"
    parts = ("cifar10", "labelled"), ("mvtec", "training-time"), ("cifar10", schedules), ("fashion-mnist", schedules)
    assert later == {f"make study PROFILE=full DATASETS={dataset} ABLATIONS={names}" for dataset, names in parts}
    asked = {part.dataset: part.ablations for part in grid.parts("full")}
    assert "labelled" not in asked["cifar10"] and "labelled" in asked["mnist"]
    assert grid.parts("full", ["cifar10"], ablations=["labelled"])[0].ablations == ["labelled"]


def test_steps_come_first_by_priority():
    order = [
        plan.priority("full", *place)
        for place in (("cifar10", "fcdd"), ("cifar10", "wider"), ("fashion-mnist", "svdd"), ("mnist", "training-time"))
    ]
    assert order == sorted(order, reverse=True) and len(set(order)) == 4 and min(order) > 0
    assert plan.priority("quick", "fashion-mnist-small", "unheard-of") == 0


# ---- ablations have their controls ----


def ablations():
    return [
        (profile, dataset, name)
        for profile in protocol.PROFILES
        for dataset in protocol.data_sets(profile)
        for name in protocol.profile(profile, dataset)["ablations"]
    ]


@pytest.mark.parametrize("profile, dataset, name", ablations())
def test_nothing_else_varies_in_an_ablation(profile, dataset, name):
    """Each of its runs has a partner of the same class and seed that differs from it in the one setting: another value,
    or, where there is one value, the method's own run. Another number of epochs may bring its milestones and decay."""
    entry = protocol.profile(profile, dataset)
    vary, fixed = entry["ablations"][name]["vary"], entry["ablations"][name].get("with", {})
    assert vary not in fixed
    runs = protocol.ablation(profile, name, dataset)
    kinds = {(run.normal, run.seed): [] for run in runs}
    for run in runs:
        everything = run.settings | run.shares
        assert vary in everything
        kinds[run.normal, run.seed].append({key: value for key, value in everything.items() if key != vary})
    assert all(all(one == several[0] for one in several) for several in kinds.values())
    if min(map(len, kinds.values())) == 1:
        assert set(fixed) <= ({"milestones", "decay", "pretrain_epochs"} if vary == "epochs" else set())
        plain = protocol.runs(profile, [entry["ablations"][name]["method"]], dataset=dataset)
        assert {(run.normal, run.seed) for run in runs} <= {(run.normal, run.seed) for run in plain}


# ---- hours ----


def recorded(**columns):
    import pandas as pd

    row = {"base": "fcdd", "dataset": "cifar10", "settings": {"network": "fcdd_cnn32_s", "epochs": 15}, "changes": {}}
    row |= {"seconds": 50.0, "score_seconds": 10.0, "threads": 1, "device": "cpu"}
    return pd.DataFrame([row | columns])


def rates(**columns):
    return plan._rates(recorded(**columns))


def of(method="fcdd", dataset="cifar10", profile="full", changes=()):
    return protocol.Run(dataset, protocol.classes(profile, dataset)[0], method, 0, profile, changes)


def test_seconds_follow_from_a_record_by_epochs_and_by_what_a_network_computes():
    small, basis = plan.seconds(of(), rates())
    assert small == pytest.approx(60 * 60 / 15) and basis == "measured"
    assert plan.seconds(of(), rates(threads=2))[0] == pytest.approx(2 * small)
    wide, basis = plan.seconds(of(changes=(("network", "fcdd_cnn32"),)), rates())
    assert basis == "scaled" and 2 < wide / small < 4  # 5×5 for 3×3
    assert plan.seconds(of("svdd"), rates()) == (plan.UNKNOWN, "guessed")
    assert plan.seconds(of(), rates(device="cuda")) == (plan.UNKNOWN, "guessed")


def test_a_training_that_is_cut_costs_no_more_than_its_hours():
    long = of(profile="check")
    assert plan.seconds(long, rates(seconds=1e6)) == (3600 * protocol.profile("check", "cifar10")["hours"], "scaled")


def test_products_are_those_of_the_layers():
    expected = 32 * 32 * 32 * 27 + 16 * 16 * 64 * 288 + 8 * 8 * (128 * 576 + 128)
    assert plan.products("fcdd_cnn32_s", 3, 32, 32) == 2 * expected


def test_what_does_not_fit_is_left_out_and_what_comes_after_may_fit():
    step = plan.steps("smoke")[0]
    found = [plan.Estimate(step, 1, 0, 7200 * hours, 7200 * hours, "measured") for hours in (3, 4, 1, 0.5)]
    found.append(found[2]._replace(step=step._replace(later=True)))
    assert plan.fitting(found, 5) == ([3, 3, 4, 4.5, 4.5], [True, False, True, True, False])


def test_rates_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "RATES", tmp_path / "rates.csv")
    plan.RATES.write_text("first,second,seconds\nkde,,2.5\nno network,,1.5\n")
    assert plan.kept_rates() == {("kde",): 2.5, ("no network",): 1.5}
    monkeypatch.setattr(plan, "_recorded", lambda *folders: recorded())
    assert plan.keep_rates() == 5
    kept = plan.kept_rates()
    assert kept["kde",] == 2.5 and set(kept) == {
        ("kde",), ("no network",), ("cifar10", "fcdd_cnn32_s"), ("network", "cifar10"), ("network",)
    }  # fmt: skip
    assert plan.seconds(of(), kept)[0] == pytest.approx(60 * 60 / 15, rel=1e-3)


@pytest.mark.slow
def test_the_full_profile_fits_into_its_hours(tmp_path):
    """By the seconds of idle processors: all methods that stand beside a paper's number, and FCDD with and without
    outliers. The ablations after them do not all fit; each of those is listed with its hours and its command."""
    found = plan.estimates("full", tmp_path)
    _, fit = plan.fitting(found, 16)
    last = max(k for k, row in enumerate(found) if row.step.title == "with and without exposure")
    assert all(fit[: last + 1]) and not any(row.current for row in found)
    assert all(row.seconds > 0 and row.step.command.startswith("make study PROFILE=full") for row in found[last:18])


def test_core_hours_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FRESH", tmp_path)
    assert plan.spent("full") == "0.00 core-hours in 0 fresh records of full"
    table = study.table(records.COMMITTED, "full").head(3).assign(seconds=3600.0, score_seconds=0.0, threads=2)
    monkeypatch.setattr(records, "table", lambda *arguments, **named: table)
    assert plan.spent("full") == "6.00 core-hours in 3 fresh records of full"


# ---- published cells that nobody has run ----


@pytest.mark.parametrize(
    "dataset, record, normal, needs",
    [
        ("mvtec", "", "cable", "a method that the library does not have"),
        ("imagenet-30", "fcdd", "mean", "images that are not to be had"),
        ("mvtec", "autoencoder", "cable", "a place in the profile paper"),
        ("mvtec", "fcdd", "cable", "make study PROFILE=paper DATASETS=mvtec METHODS=fcdd CLASSES=cable"),
        ("mvtec", "fcdd-semi", "mean", "make study PROFILE=paper DATASETS=mvtec METHODS=fcdd-semi"),
        ("mvtec", "fcdd+sigma=4.0", "mean", "make study PROFILE=paper DATASETS=mvtec ABLATIONS=sigma"),
    ],
)
def test_a_cell_that_was_not_run_says_what_it_needs(dataset, record, normal, needs):
    import pandas as pd

    cell = pd.DataFrame([{"dataset": dataset, "record": record, "normal": normal}])
    row = plan.missing(cell, rates()).loc[0]
    assert row["needs"].startswith(needs) and (row["hours"] > 0) == needs.startswith("make")


def test_a_command_of_a_cell_runs_its_runs_and_the_hours_are_theirs():
    import pandas as pd

    cells = pd.DataFrame([{"dataset": "mvtec", "record": "fcdd", "normal": name} for name in ("cable", "mean")])
    one, whole = plan.missing(cells, rates())["hours"]
    assert whole == pytest.approx(15 * one)
    told = plan.missing(cells, rates())["needs"][0].split(" CLASSES=")
    part = grid.parts("paper", ["mvtec"], ["fcdd"], [told[1]])[0]
    runs = part.runs()
    assert {run.normal for run in runs} == {"cable"} and len(runs) == 5
    assert one == pytest.approx(sum(plan.seconds(run, rates())[0] for run in runs) / plan.CORES / 3600)

"""The command line of the study, ``fcdd study …``: it is added to fcdd's own through an entry point of this package."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Runs, records and chapters of the study.")
console, complaints = Console(), Console(stderr=True)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Profile = Annotated[str, typer.Option(help="smoke, quick, full, paper, or another one of profiles.yml")]


@app.command("run")
def study_run(
    profile: Profile = "quick",
    dataset: Annotated[list[str] | None, typer.Option(help="only these data sets")] = None,
    method: Annotated[list[str] | None, typer.Option(help="only these methods")] = None,
    normal: Annotated[list[str] | None, typer.Option(help="only these nominal classes")] = None,
    ablation: Annotated[list[str] | None, typer.Option(help="only these ablations")] = None,
    device: Device = "auto",
    table: Annotated[Path | None, typer.Option(help="also write the records as CSV")] = None,
) -> None:
    """Runs what is missing or stale in a profile, or in a part of it, and writes one record a run."""
    from fcdd.files import whole

    from . import engine, grid

    parts = grid.parts(profile, dataset or (), method or (), normal or (), ablation or ())
    result = engine.run_all([run for part in parts for run in part.runs()], device)
    if table is not None:
        with whole(table) as partial:
            result.to_csv(partial, index=False)
    means = result.groupby(["dataset", "method"], sort=False)["auroc"].agg(["mean", "count"])
    for (data, name), row in means.iterrows():
        text = f"{profile} {data} {name}: mean AUROC {row['mean']:.3f} over {int(row['count'])} runs"
        console.print(text, soft_wrap=True, highlight=False)


Committed = Annotated[bool, typer.Option(help="the repository's records instead of fresh ones")]


@app.command("list")
def study_list(
    profile: Annotated[str | None, typer.Option(help="only this profile")] = None,
    dataset: Annotated[str | None, typer.Option(help="only this data set")] = None,
    committed: Committed = False,
) -> None:
    """Lists the records, fresh ones or with --committed those of the repository; stale ones say what has changed.

    Damaged ones are named at the end; the exit code is then 1.
    """
    import fcdd_study as study

    damaged = []
    found = study.table(study.COMMITTED if committed else study.FRESH, profile, dataset, complain=damaged.append)
    for row in found.itertuples():
        mark = f"  stale: {row.stale}" if row.stale else ""
        console.print(
            f"{row.id}  AUROC {row.auroc:.3f}  {row.seconds:.1f} s on {row.device}  {row.date}{mark}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if damaged:
        raise ValueError(f"{len(damaged)} damaged:\n" + "\n".join(f"- {error}" for error in damaged))
    if found.empty:
        which = ("committed" if committed else "fresh") + " records" + (f" of {profile}" if profile else "")
        console.print(f"no {which} yet; make some with: fcdd study run --profile {profile or 'smoke'}")
    elif stale := (found["stale"] != "").sum():
        console.print(f"{stale} of {len(found)} are stale; fcdd study run runs them again")


@app.command("diff")
def study_diff(
    profile: Annotated[str, typer.Argument(help="the profile whose records are compared")],
    other: Annotated[str | None, typer.Argument(help="another profile; without one, the committed records")] = None,
    dataset: Annotated[str | None, typer.Option(help="only this data set")] = None,
) -> None:
    """Compares records: the AUROC of every method and class, fresh against committed, or of two profiles."""
    import fcdd_study as study

    if other == profile:
        raise ValueError(f"expected two profiles to compare, got {profile} twice")
    sides = {f"{profile}, fresh": study.table(study.FRESH, profile, dataset)}
    if other:
        sides[f"{other}, fresh"] = study.table(study.FRESH, other, dataset)
    else:
        sides[f"{profile}, committed"] = study.table(study.COMMITTED, profile, dataset)
    for name, side in sides.items():
        if side.empty:
            raise ValueError(f"no records to compare: {name}; see fcdd study list")
    shared = study.side_by_side(*sides.values())
    if shared.empty:
        held = [
            f"{name}: {', '.join(sorted(set(side['dataset'] + ' ' + side['method'])))}" for name, side in sides.items()
        ]
        raise ValueError("nothing in common to compare: " + "; ".join(held))
    table = Table("data set", "method", "nominal", *sides, "difference", title="AUROC, mean over seeds")
    for (data, method), rows in shared.groupby(["dataset", "method"], sort=False):
        for row in rows.itertuples():
            _compare(table, data, method, row.normal, row.first, row.second)
        _compare(table, data, method, "mean", rows["first"].mean(), rows["second"].mean())
        table.add_section()
    console.print(table)
    for name, side in sides.items():
        if stale := (side["stale"] != "").sum():
            console.print(f"{name}: {stale} of {len(side)} records are stale; fcdd study list says why")


def _compare(table: Table, data: str, method: str, normal: str, first: float, second: float) -> None:
    table.add_row(data, method, normal, f"{first:.3f}", f"{second:.3f}", f"{first - second:+.3f}")


@app.command("verdicts")
def study_verdicts(
    profile: Annotated[str | None, typer.Option(help="of one profile; left out, those nearest to the papers")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="only these data sets")] = None,
    fresh: Annotated[bool, typer.Option(help="fresh records instead of the repository's")] = False,
    csv: Annotated[Path | None, typer.Option(help="also write the table, with all its columns, as CSV")] = None,
) -> None:
    """Two answers for each published cell: does the value agree, and what differs in the protocol? And both counted.

    Cells without runs are in the counts and in the CSV alone.
    """
    import fcdd_study as study

    from . import verdicts

    published = study.published(None)
    if unknown := set(dataset or ()) - set(published["dataset"]):
        known = ", ".join(sorted(set(published["dataset"])))
        raise ValueError(f"nothing published on {', '.join(sorted(unknown))}; there is for {known}")
    published = published[published["dataset"].isin(dataset)] if dataset else published
    everything = study.table(study.FRESH if fresh else study.COMMITTED)
    recorded = everything[everything["profile"] == profile] if profile else verdicts.nearest(everything)
    judged = verdicts.verdicts(recorded, published, experiments=everything)
    if csv is not None:
        csv.parent.mkdir(parents=True, exist_ok=True)
        judged.to_csv(csv, index=False)
    named = " and ".join(verdicts.NEAREST) if profile is None else profile
    console.print(_cells(judged[judged["verdict"] != "not run"], named))
    counted = verdicts.counts(judged)
    table = Table("verdict", *counted.columns, title="counts, without means beside their own classes")
    for name, row in counted.iterrows():
        table.add_row(name, *map(str, row))
    console.print(table)
    if stale := (recorded["stale"] != "").sum() if len(recorded) else 0:
        console.print(f"{stale} of {len(recorded)} records are stale; fcdd study list says why")


def _cells(judged, profile: str) -> Table:
    """The table of cells that have runs, a row each."""
    names = ("data set", "runs", "setting", "nominal", "published", "ours", "90 % interval", "seeds", "verdict")
    table = Table(
        *names, "protocol differs in", "not known", "why", title=f"published cells and the records of {profile}"
    )
    for row in judged.itertuples():
        interval = "" if row.low != row.low else f"{row.low:.3f} to {row.high:.3f}"
        more = "" if row.to_decide != row.to_decide else f" ({row.to_decide:.0f} seeds would decide)"
        place = row.dataset, row.record, row.setting, row.normal
        values = f"{row.published:.3f}", f"{row.ours:.3f}", interval, str(row.seeds), row.verdict + more
        table.add_row(*place, *values, row.differs, row.unknown, row.reason)
    return table


@app.command("plan")
def study_plan(
    profile: Profile = "full",
    budget: Annotated[float, typer.Option(min=0, help="hours on two cores")] = 16,
    committed: Committed = False,
    keep: Annotated[bool, typer.Option("--keep", help="first keep the rates of all records in data/rates.csv")] = False,
) -> None:
    """The steps of a profile in their order, and the hours of two cores that each takes by the seconds of what is
    recorded; then what does not fit into the budget, with its command. What is recorded and current is not run again.
    """
    from . import plan, records

    if keep:
        console.print(f"{plan.keep_rates()} rates kept in {plan.RATES}", soft_wrap=True, highlight=False)
    found = plan.estimates(profile, records.COMMITTED if committed else records.FRESH)
    table = Table(title=f"plan of {profile}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("step", "data set"):
        table.add_column(name, overflow="fold")
    for name in ("runs", "current", "hours", "left", "so far", "by"):
        table.add_column(name, justify="right", no_wrap=True)
    until, fit = plan.fitting(found, budget)
    for row, sum_of, fits in zip(found, until, fit, strict=True):
        part, took = row.step.part, (plan.hours(row.seconds), plan.hours(row.left))
        names = part.dataset if part.profile == profile else f"{part.dataset} ({part.profile})"
        numbers = [f"{each:.2f}" for each in took] + [f"{sum_of:.2f}" if fits else "–"]
        table.add_row(row.step.title, names, str(row.runs), str(row.current), *numbers, row.basis)
    console.print(table)
    whole = sum(row.left for row, fits in zip(found, fit, strict=True) if fits)
    console.print(f"{plan.hours(whole):.1f} hours of two cores are left to run, of {budget:g}", highlight=False)
    for row in (row for row, fits in zip(found, fit, strict=True) if not fits):
        text = f"not in it: {row.step.title} ({plan.hours(row.seconds):.2f} h): {row.step.command}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(plan.spent(profile), highlight=False)


@app.command("show")
def study_show(
    run: Annotated[str, typer.Argument(help="a run's id, as fcdd study list names it")], committed: Committed = False
) -> None:
    """Shows one record in full: the fresh one, or the repository's where there is no fresh one."""
    from . import records

    for folder in (records.COMMITTED,) if committed else (records.FRESH, records.COMMITTED):
        if (folder / f"{run}.json").exists():
            record = records.read(folder / f"{run}.json")
            console.print_json(data=record)
            if reasons := records.stale(record):
                complaints.print(f"stale: {', '.join(reasons)}", highlight=False)
            return
    raise FileNotFoundError(f"no record {run!r}; fcdd study list names them")


@app.command("redo")
def study_redo(
    run: Annotated[list[str] | None, typer.Argument(help="ids of committed runs; left out, some are drawn")] = None,
    profile: Profile = "full",
    count: Annotated[int, typer.Option(min=1, help="how many are drawn")] = 3,
    seed: Annotated[int, typer.Option(help="that draws them")] = 0,
    device: Device = "auto",
    csv: Annotated[Path | None, typer.Option(help="also write the comparison as CSV")] = None,
) -> None:
    """Trains committed runs again, and says whether they come out equal, bit for bit, or by how much they differ.

    On another device, or with other versions of the libraries, they differ in their last digits.
    """
    import random

    import pandas as pd
    from tqdm import tqdm

    from . import engine, records

    ids = sorted(records.table(records.COMMITTED, profile)["id"]) if not run else []
    names = run or random.Random(seed).sample(ids, min(count, len(ids)))
    console.print("run again: " + ", ".join(names), soft_wrap=True, highlight=False, markup=False)
    found = [engine.redo(records.read(records.COMMITTED / f"{name}.json"), device) for name in tqdm(names, leave=False)]
    for row in found:
        told = "equal bit for bit" if row["equal"] else f"differs by up to {row['largest difference']:.2g}"
        text = (
            f"{row['run']}: {row['auroc']:.4f} on {row['recorded']}; {row['auroc again']:.4f} on {row['again']}: {told}"
        )
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if csv is not None:
        pd.DataFrame(found).to_csv(csv, index=False)


@app.command("chapter", hidden=True)
def study_chapter(
    notebook: Path,
    output: Path,
    parameter: Annotated[list[str] | None, typer.Option("-p", help="as in -p profile=smoke")] = None,
) -> None:
    """Executes a chapter, for the graph."""
    from . import chapters

    wrong = [p for p in parameter or [] if "=" not in p]
    if wrong:
        raise ValueError(f"expected parameters as name=value, got {', '.join(wrong)}")
    texts = dict(p.split("=", 1) for p in parameter or [])
    chapters.execute(notebook, output, chapters.given(notebook, texts))


@app.command("demos", hidden=True)
def study_demos(folder: Path, profile: Profile = "quick", device: Device = "auto") -> None:
    """Writes what the figures that move begin with, for the graph."""
    from . import demos

    demos.write(folder, profile, device)


@app.command("detector", hidden=True)
def study_detector(told: Path, profile: Profile = "quick") -> None:
    """Writes the detector in one HTML file beside ``told``, and there why there is none, for the graph."""
    from . import one_file

    told.write_text(one_file.write(told.parent, profile), encoding="utf-8")


@app.command("render", hidden=True)
def study_render(profile: Profile = "quick") -> None:
    """Renders the executed chapters of a profile as a book, for the graph."""
    from . import book

    console.print(f"the book: {book.render(profile)}")


@app.command("course", hidden=True)
def study_course(profile: Profile = "quick") -> None:
    """Writes notebooks, slides and plans for a course as a folder and a zip, for make course."""
    from . import pack

    console.print(f"the course: {pack.write(profile)}", soft_wrap=True, highlight=False)


@app.command("slides", hidden=True)
def study_slides(profile: Profile = "quick") -> None:
    """Renders the slides alone."""
    from . import slides

    console.print(f"the slides: {slides.render(profile)}", soft_wrap=True, highlight=False)


@app.command("pdf", hidden=True)
def study_pdf(solutions: Annotated[bool, typer.Option("--solutions", help="with all answers")] = False) -> None:
    """Prints the rendered book to one file, for make pdf."""
    from . import printed

    console.print(f"the book on paper: {printed.pdf(solutions)}", soft_wrap=True, highlight=False)

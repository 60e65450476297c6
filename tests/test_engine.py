"""The study as a whole: parts of it by name, failures, kills, two at once, a cluster; in copies of the project."""

import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from fcdd_study import engine, grid, hashes, protocol, records

CHEAP = ("kde", "pca-ocsvm", "svdd")
DATASET = "fashion-mnist-small"
MISSING = "cifar10"  # looked for in vain: these tests leave no folder to find it in
KILLS, KILLED_BUILDS = 16, 4  # of `fcdd study run`, and of `make study`


@pytest.fixture(scope="module")
def copied(copy_project, tmp_path_factory):
    """Makes copies of the project, in folders whose names hold a space, whose .venv is the one these tests run in."""

    def copy(name):
        root = copy_project(tmp_path_factory.mktemp("study") / name)
        (root / ".venv").symlink_to(sys.prefix)
        return root

    return copy


def environment(root):
    plain = {key: value for key, value in os.environ.items() if key not in ("FCDD_DATA", "TQDM_DISABLE", "MAKEFLAGS")}
    return plain | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def make(root, *arguments):
    """What to give to subprocess for a call of make in profile smoke; nothing is installed, however old the stamp."""
    return {"args": ["make", "-o", ".venv/.stamp", "PROFILE=smoke", *arguments], "cwd": root, "env": environment(root)}


def made(root, *arguments):
    result = subprocess.run(**make(root, *arguments), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.returncode, result.stdout


def found(root):
    """Path → time of change of every record; each of them is whole."""
    paths = (root / "_build" / "records").rglob("*.json")
    return {path: path.stat().st_mtime_ns for path in paths if records.read(path)}


def numbers(root):
    """What a run gives, without when, how fast and from which commit."""
    read = {path.relative_to(root): records.read(path) for path in found(root)}
    return {path: {key: value for key, value in record.items() if key not in ("seconds", "date")}
            for path, record in read.items()}  # fmt: skip


# ---- which part ----


def test_a_part_of_a_profile_by_its_names(monkeypatch):
    first, second = (
        protocol.PROFILES["smoke"][DATASET],
        {"classes": ["cat", "dog"], "seeds": [0], "methods": {"hsc": {}}},
    )
    study = {"method": "fcdd", "vary": "epochs", "values": [1], "classes": ["Ankle boot"]}
    monkeypatch.setitem(protocol.PROFILES, "two", {DATASET: first | {"ablations": {"time": study}}, MISSING: second})
    everything = grid.parts("two")
    assert [part.dataset for part in everything] == [DATASET, MISSING]
    assert everything[0].methods == list(first["methods"]) and everything[0].ablations == ["time"]
    assert everything[0].runs() == protocol.runs("two") + protocol.ablation("two", "time")
    assert [(part.dataset, part.methods) for part in grid.parts("two", methods=["hsc"])] == [
        (DATASET, ["hsc"]),
        (MISSING, ["hsc"]),
    ]
    assert grid.parts("two", classes=["Ankle boot", "dog"], methods=["hsc", "fcdd"]) == [
        grid.Part("two", DATASET, ["hsc", "fcdd"], ["Ankle boot"], []),
        grid.Part("two", MISSING, ["hsc"], ["dog"], []),
    ]
    assert grid.parts("two", ablations=["time"]) == [grid.Part("two", DATASET, [], [], ["time"])]
    assert {run.normal for part in grid.parts("two", classes=["dog"]) for run in part.runs()} == {"dog"}
    with pytest.raises(ValueError, match="nothing to run: in profile two no data set has all of these: fcdd; cat"):
        grid.parts("two", methods=["fcdd"], classes=["cat"])
    with pytest.raises(ValueError, match="nothing to run: .*: time; T-shirt/top"):
        grid.parts("two", ablations=["time"], classes=["T-shirt/top"])


@pytest.mark.parametrize("asked, text", [
    ({"datasets": ["mnists"]}, "unknown data set 'mnists' in profile smoke; known: fashion-mnist-small, textures, "),
    ({"methods": ["fcdd", "fcd", "x"]}, "unknown method 'fcd', 'x' in profile smoke; known: kde, isolation-forest"),
    ({"methods": ["patches"], "datasets": [DATASET]}, "unknown method 'patches' in profile smoke; known: kde"),
    ({"classes": ["Hat"]}, "unknown class 'Hat' in profile smoke; known: T-shirt/top, Ankle boot"),
    ({"ablations": ["width"]}, "unknown ablation 'width' in profile smoke; known: "),
])  # fmt: skip
def test_unknown_names(asked, text):
    with pytest.raises(ValueError, match=text):
        grid.parts("smoke", **asked)


# ---- processes that share the records ----


@pytest.fixture(scope="module")
def record():
    return engine.execute(protocol.run("smoke", "kde", "Ankle boot"))


@pytest.fixture
def executed(record, monkeypatch):
    """The runs that the engine executes from now on; instead of being trained they get the fields of ``record``."""
    runs = []

    def execute_all(group, device, alone=False):
        runs.extend(group)
        return [written(record, run) for run in group]

    monkeypatch.setattr(engine, "execute_all", execute_all)
    return runs


def written(record, run):
    of_run = {"dataset": run.dataset, "normal": run.normal, "method": run.method, "id": run.id}
    code = record["code"] | {"sha256": hashes.of_run(run)}
    return record | {"run": record["run"] | of_run, "settings": run.settings, "code": code}


def test_what_another_process_is_at_is_left_to_it(record, executed, tmp_path, capsys):
    """Another holds kde and finishes one of its two runs; meanwhile the other method is run, and then the second."""
    first, second, *others = runs = protocol.runs("smoke", ["kde", "svdd"])
    place = records.path_of(first, tmp_path).parent
    place.mkdir(parents=True)
    with FileLock(place / ".lock"):
        study = threading.Thread(target=engine.run_all, args=(runs, "cpu", tmp_path))
        study.start()
        deadline = time.monotonic() + 60
        while not all(records.is_current(run, tmp_path) for run in others) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert executed == others and study.is_alive()
        records.write(written(record, first), tmp_path)
    study.join(60)
    assert executed == [*others, second]
    assert capsys.readouterr().err == f"another process is at {DATASET} kde; back to it at the end\n"
    assert all(records.is_current(run, tmp_path) for run in runs)


def test_what_a_kill_left_half_written_is_removed(executed, tmp_path):
    run, other = protocol.runs("smoke", ["kde"])
    place = records.path_of(run, tmp_path).parent
    place.mkdir(parents=True)
    (place / f".{records.path_of(run, tmp_path).stem}-0123abcd.part").write_text('{"schema":')
    assert len(engine.run_all([run, other], "cpu", tmp_path)) == 2
    assert sorted(path.suffix for path in place.iterdir()) == ["", ".json", ".json"]  # the first is .lock


def test_a_damaged_record_of_one_method_is_no_matter_to_another(executed, tmp_path):
    runs = protocol.runs("smoke", ["svdd"])
    damaged = records.path_of(protocol.run("smoke", "kde", "Ankle boot"), tmp_path)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    assert engine.run_all(runs, "cpu", tmp_path)["id"].tolist() == [run.id for run in runs]
    with pytest.raises(ValueError, match="ankle-boot-seed0.json is not a run record"):
        records.table(tmp_path)
    complaints = []
    assert len(records.table(tmp_path, complain=complaints.append)) == 2 and len(complaints) == 1


def test_a_group_that_fails_late_keeps_what_was_written(record, executed, tmp_path, monkeypatch):
    runs = protocol.runs("smoke", ["fcdd"])

    def write(record, folder, plain=records.write):
        if record["run"]["id"] == runs[1].id and len(executed) == 2:
            raise OSError("no space left")
        return plain(record, folder)

    monkeypatch.setattr(records, "write", write)
    assert len(engine.run_all(runs, "cpu", tmp_path)) == 2
    assert executed == [*runs, runs[1]]


def test_failures_with_one_message_are_told_once(tmp_path, monkeypatch, capsys):
    runs = protocol.runs("smoke", ["kde", "svdd"])

    def execute_all(group, device):
        raise ZeroDivisionError("no luck") if group[0].method == "svdd" else FileNotFoundError("no data")

    monkeypatch.setattr(engine, "execute_all", execute_all)
    with pytest.raises(RuntimeError) as error:
        engine.run_all(runs, "cpu", tmp_path)
    assert str(error.value).splitlines() == [
        "4 of 4 runs failed:",
        f"- {runs[0].id} and 1 more: FileNotFoundError: no data",
        f"- {runs[2].id} and 1 more: ZeroDivisionError: no luck",
    ]
    told = capsys.readouterr().err
    assert "in execute_all" in told and "FileNotFoundError: no data" not in told  # where a mistake came from


def test_a_run_again_is_equal_or_its_difference_is_told(record):
    told = engine.redo(record, "cpu")
    assert told["equal"] and told["largest difference"] == told["loss"] == 0 and told["run"] == record["run"]["id"]
    other = record | {"metrics": record["metrics"] | {"auroc": record["metrics"]["auroc"] - 0.25}}
    told = engine.redo(other, "cpu")
    assert not told["equal"] and told["largest difference"] == pytest.approx(0.25)


def test_lost_records_of_a_table(executed, tmp_path):
    runs = protocol.runs("smoke", ["kde", "svdd"])
    engine.run_all(runs, "cpu", tmp_path).to_csv(tmp_path / "table.csv", index=False)
    assert records.lost(tmp_path / "table.csv", tmp_path) == []
    records.path_of(runs[1], tmp_path).unlink()
    records.path_of(runs[2], tmp_path).write_text("{")
    assert records.lost(tmp_path / "table.csv", tmp_path) == [runs[1].id, runs[2].id]


def test_the_record_of_another_run_is_not_current(record, tmp_path):
    run, other = (protocol.run("smoke", "kde", normal) for normal in ("Ankle boot", "T-shirt/top"))
    path = records.write(record, tmp_path)
    assert records.is_current(run, tmp_path)
    shutil.copy(path, records.path_of(other, tmp_path))
    assert not records.is_current(other, tmp_path)


COUNTED = """
import sys
from pathlib import Path
from fcdd import cli
from fcdd_study import engine

def execute_all(runs, device, plain=engine.execute_all, **alone):
    with Path("executed.txt").open("a") as file:
        file.write("".join(run.id + "\\n" for run in runs))
    return plain(runs, device, **alone)

engine.execute_all = execute_all
cli.main()
"""


def test_two_studies_at_once_share_the_work(copied):
    """Both end well, and each run was executed once, by one of them."""
    root = copied("two at once")
    command = [sys.executable, "-c", COUNTED, "study", "run", "--profile", "smoke", "--dataset", DATASET]
    command += [f"--method={name}" for name in CHEAP]
    studies = [
        subprocess.Popen(command, cwd=root, env=environment(root), text=True, stdout=subprocess.PIPE) for _ in range(2)
    ]
    said = [study.communicate()[0] for study in studies]
    assert [study.returncode for study in studies] == [0, 0]
    assert said[0] == said[1] and len(said[0].splitlines()) == len(CHEAP)
    wanted = sorted(run.id for run in protocol.runs("smoke", CHEAP))
    assert sorted((root / "executed.txt").read_text().splitlines()) == wanted
    assert len(found(root)) == len(wanted)


def test_code_that_changes_while_a_run_trains_is_stamped_on_no_record(tmp_path, monkeypatch):
    """A study of hours, and an edit meanwhile: what is imported late is new, what was imported is old."""
    run, plain, sha256 = protocol.run("smoke", "kde", "Ankle boot"), protocol.evaluate, hashes.sha256

    def evaluate(model, data):
        monkeypatch.setattr(hashes, "sha256", lambda files: sha256(files)[::-1])  # as if a file were another one
        return plain(model, data)

    monkeypatch.setattr(protocol, "evaluate", evaluate)
    with pytest.raises(
        RuntimeError, match="1 of 1 runs failed:\n- smoke/.*: RuntimeError: its code changed while this"
    ):
        engine.run_all([run], "cpu", tmp_path)
    assert list(tmp_path.rglob("*.json")) == []


# ---- make study ----


@pytest.fixture(scope="module")
def ordinary(copied):
    """A copy in which the study ran three methods on two data sets, of which one cannot be found; what make said."""
    root = copied("Übung & co's [1] 100%")
    profiles = root / "fcdd_study" / "profiles.yml"
    smoke = yaml.safe_load(profiles.read_text())["smoke"]
    smoke[MISSING] = smoke[DATASET] | {"classes": ["cat", "dog"], "methods": {"kde": {}}, "ablations": {}}
    profiles.write_text(yaml.safe_dump({"smoke": smoke}, sort_keys=False))
    return root, *made(
        root, "study", f"DATASETS={DATASET},{MISSING}", "METHODS=kde,svdd,fcdd", "CLASSES=Ankle boot,dog"
    )


def test_what_failed_is_told_at_the_end_and_stops_nothing_else(ordinary):
    root, code, said = ordinary
    assert code != 0
    wanted = {f"smoke/{DATASET}/{method}/ankle-boot-seed0" for method in ("kde", "svdd", "fcdd")}
    made = [records.read(path) for path in found(root)]
    assert wanted == {record["run"]["id"] for record in made if record["run"]["normal"] == "Ankle boot"}
    assert all(wanted & set(record["stack"]) for record in made)  # others only of a stack with one that was asked for
    report = said[said.index("of 4 jobs 1 failed; what the others made is kept:") :]
    assert f"_build/logs/runs/smoke/{MISSING}/kde.csv.txt ends with" in report
    assert f"- smoke/{MISSING}/kde/dog-seed0: FileNotFoundError: {MISSING} was not found." in report
    assert DATASET not in report


def test_progress_can_be_read(ordinary):
    """A line for each job, how many remain and the time left; not a word of the engine's or the kernels'."""
    root, _, said = ordinary
    begun = [line for line in said.splitlines() if line.startswith("training ")]
    assert len(begun) == 4 and re.fullmatch(r"training \w+ on [\w-]+, profile smoke \(4 of 4 to do\)", begun[0])
    assert all(re.search(r" \(\d of 4 to do, (about \d+|less than a) min\w* left\)$", line) for line in begun[2:])
    assert not re.search(
        r"Building DAG|Job stats|Select jobs|Finished job|Nothing to be done|Complete log|KeyboardI", said
    )
    log = root / "_build" / "logs" / "runs" / "smoke" / DATASET / "fcdd.csv.txt"
    assert re.search(r"smoke runs: +\d+%\|.*\| \d/1 \[\d\d:\d\d<.*fcdd, Ankle boot, seed 0\]", log.read_text())


def test_a_dry_run_touches_nothing(ordinary):
    """snakemake#1694: a table whose record is gone is planned, and stays until it is made again; trial 24."""
    root, part = ordinary[0], (f"DATASETS={DATASET}", "METHODS=kde,svdd", "CLASSES=Ankle boot")
    record = root / "_build" / "records" / "smoke" / DATASET / "kde" / "ankle-boot-seed0.json"
    table = root / "_build" / "runs" / "smoke" / DATASET / "kde.csv"
    whole, before = record.read_bytes(), table.stat().st_mtime_ns
    record.unlink()
    code, said = made(root, "why", "WHAT=study", *part)
    assert code == 0 and "training kde" in said and "training svdd" not in said and "ankle-boot-seed0" in said
    assert table.stat().st_mtime_ns == before
    record.write_bytes(whole)
    assert "Nothing to be done" in made(root, "why", "WHAT=study", *part)[1]


def test_what_is_committed_is_not_trained_again_unless_asked(ordinary):
    root, part = ordinary[0], (f"DATASETS={DATASET}", "METHODS=kde", "CLASSES=Ankle boot")
    place = Path("records", "smoke", DATASET, "kde")
    table = root / "_build" / "runs" / "smoke" / DATASET / "kde.csv"
    hidden = table.with_suffix(".hidden")
    shutil.copytree(root / "_build" / place, root / "data" / place)
    shutil.move(root / "_build" / place, root / "_build" / "aside")
    table.rename(hidden)
    try:
        code, said = made(root, "study", *part)
        assert code == 0 and "training" not in said and "nothing to do" in said and not table.exists()
        code, said = made(root, "study", *part, "AGAIN=1")
        assert code == 0 and "training kde" in said and table.exists()
    finally:
        shutil.rmtree(root / "data" / place)
        shutil.rmtree(root / "_build" / place, ignore_errors=True)
        shutil.move(root / "_build" / "aside", root / "_build" / place)
        hidden.replace(table)


def test_content_decides_and_not_dates(ordinary):
    """snakemake#2011, #4134: sources unpacked from a zip or copied over the old ones are older than what was built."""
    root, part = ordinary[0], (f"DATASETS={DATASET}", "METHODS=kde,svdd", "CLASSES=Ankle boot")
    for file in (root / "fcdd").rglob("*.py"):
        os.utime(file)
    assert "Nothing to be done" in made(root, "why", "WHAT=study", *part)[1]
    file = root / "fcdd" / "svdd.py"
    before = file.read_bytes()
    file.write_bytes(before + b"\nEXTRA = 1\n")
    os.utime(file, (1_577_836_800,) * 2)  # the first of January 2020
    said = made(root, "why", "WHAT=study", *part)[1]
    assert "training svdd" in said and "training kde" not in said
    file.write_bytes(before)
    os.utime(file, (1_577_836_800,) * 2)
    assert "Nothing to be done" in made(root, "why", "WHAT=study", *part)[1]


@pytest.mark.parametrize("asked, text", [
    (("PROFILE=Smoke",), "unknown profile 'Smoke'; known: smoke"),
    (("DEVICE=gpu",), "unknown device 'gpu'; expected auto, cpu, cuda or mps"),
    (("METHODS=HSC",), "unknown method 'HSC' in profile smoke; known: kde"),
    (("CLASSES=Bag;Shirt",), "unknown class 'Bag;Shirt' in profile smoke; known: T-shirt/top"),
    (("ABLATIONS=nothing",), "unknown ablation 'nothing' in profile smoke; known: "),
])  # fmt: skip
def test_misspelt_values_are_refused_with_the_known_ones(ordinary, asked, text):
    """betaflight#14129 of others' projects; trial 15."""
    code, said = made(ordinary[0], "study", *asked)
    assert code != 0 and text in said and "Traceback" not in said


def test_a_lost_record_is_made_again_and_only_that(ordinary):
    root = ordinary[0]
    part = (f"DATASETS={DATASET}", "METHODS=kde,svdd,fcdd", "CLASSES=Ankle boot")
    records_path = root / "_build" / "records" / "smoke" / DATASET
    damaged = records_path / "kde" / "ankle-boot-seed0.json"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    code, said = made(root, "why", "WHAT=study", *part)
    assert code == 0 and "training kde" in said
    assert "training svdd" not in said and "training fcdd" not in said
    before = {path: time for path, time in all_times(records_path).items() if path != damaged}
    assert made(root, "study", *part)[0] == 0
    after = found(root)
    assert damaged in after and {path: after[path] for path in before} == before


def all_times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


@pytest.mark.parametrize("flags, linked", [((), True), (("-O",), False)])
def test_records_are_the_same_through_a_link_and_without_asserts(ordinary, tmp_path, flags, linked):
    """jupyter-book#137, nteract/papermill#418; trial 23."""
    root = ordinary[0]
    if linked:
        (tmp_path / "link").symlink_to(root)
    place, before = tmp_path / "link" if linked else root, found(root)
    command = [sys.executable, *flags, "-m", "fcdd", "study", "run", "--profile", "smoke", "--dataset", DATASET]
    command += ["--method", "kde", "--normal", "Ankle boot"]
    told = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "kde: mean AUROC" in told.stdout, told.stderr
    assert found(root) == before


def test_unknown_names_are_refused_before_anything_runs(ordinary):
    root = ordinary[0]
    before = found(root)
    for asked in ("Ankle boot,Hat", "0"):  # a digit, the name of a class in other data sets, is not taken for nothing
        code, said = made(root, "study", f"CLASSES={asked}")
        text = f"unknown class '{asked.split(',')[-1]}' in profile smoke; known: T-shirt/top, Ankle boot"
        assert code != 0 and text in said
        assert "Job stats" not in said and found(root) == before


def test_a_cluster_gives_the_same_records(ordinary, copied):
    """Each job goes through the submit and status commands of cluster/local, to a Snakemake of its own."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    root = copied("cluster")
    part = (f"DATASETS={DATASET}", "METHODS=kde,svdd,fcdd", "CLASSES=Ankle boot")
    code, said = made(root, "study", *part, "CLUSTER=local")
    assert code == 0, said
    jobs = list((root / "_build" / "cluster").iterdir())
    assert len(jobs) == 3 == len(re.findall("^training ", said, re.MULTILINE))
    assert [(job / "code").read_text() for job in jobs] == ["0\n"] * 3
    assert numbers(root) == numbers(ordinary[0])


def test_slurm_is_asked_for_what_a_job_needs(ordinary, tmp_path):
    """A dry run lists the jobs; a real one is given an sbatch that notes what it is asked for and refuses."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    root = ordinary[0]
    part = (f"DATASETS={DATASET}", "METHODS=kde,fcdd", "CLASSES=T-shirt/top", "CLUSTER=slurm")
    code, said = made(root, "study", *part, "ARGS=--dry-run")
    assert code == 0 and re.search(r"runs +2\n", said) and f"training fcdd on {DATASET}" in said
    for name in ("sbatch", "sacct", "squeue", "scontrol", "sinfo", "scancel"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/asked"\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    call = make(root, "study", *part)
    call["env"]["PATH"] = f"{tmp_path}{os.pathsep}{call['env']['PATH']}"
    result = subprocess.run(**call, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode != 0, result.stdout
    lines = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("sbatch")]
    asked = {line.partition("method=")[2].partition("'")[0]: line.partition("--wrap")[0] for line in lines}
    assert asked.keys() == {"kde", "fcdd"}
    assert all("-p gpu -t 720 --mem 16000" in line and "--cpus-per-task=4" in line for line in asked.values())
    assert "--gpus=1" in asked["fcdd"] and "--gpus" not in asked["kde"]


def test_the_page_shows_the_profile_as_it_is():
    project = Path(__file__).parents[1]
    shown = re.search(r"```yaml\n(.*?)```", (project / "book" / "cluster.md").read_text(), re.DOTALL)[1]
    profile = yaml.safe_load((project / "fcdd_study" / "cluster" / "slurm" / "config.yaml").read_text())
    assert yaml.safe_load(shown) == profile
    chance = {
        name for name, method in protocol.METHODS.items() if method.module in ("fcdd.svdd", "fcdd_study.baselines")
    }
    assert len(chance) == 4 and all(f"'{name}'" in profile["set-resources"]["runs"]["gpu"] for name in chance)


# ---- kills ----


FORKED = """
import math, os, signal, sys, time
import fcdd_study.baselines, fcdd.datasets, fcdd.svdd, fcdd_study.engine
from fcdd import cli
from fcdd_study import hashes, protocol

for run in protocol.runs("smoke"):
    hashes.of_run(run)  # remembered by the children
for line in sys.stdin:  # seconds to live
    child = os.fork()
    if child == 0:
        os.setsid()
        cli.main()
        os._exit(0)
    if float(line) < math.inf:
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def forking(root):
    """A process with its imports behind it, whose children are `fcdd study run`."""
    command = [sys.executable, "-c", FORKED, "study", "run", "--profile", "smoke", "--dataset", DATASET]
    command += [f"--method={name}" for name in CHEAP]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=root, env=environment(root), text=True, **pipes)


def kill_run(parent, seconds):
    """Lets the process start a study and kill it; returns whether it was still running."""
    parent.stdin.write(f"{seconds}\n")
    parent.stdin.flush()
    while not (answer := parent.stdout.readline()).strip().isdigit():
        assert answer, "the study ended by itself"
    return int(answer) == signal.SIGKILL


def kill_build(call, seconds):
    """The same for make and all that it has started."""
    silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(**call, **silence, start_new_session=True)
    time.sleep(seconds)
    alive = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def remove(paths):
    for path in paths:
        path.unlink()


def test_twenty_kills_lose_no_finished_run(copied):
    """Before each kill some records are taken away, so that there is something to do; the others must outlive it."""
    root, part = copied("to be killed"), (f"DATASETS={DATASET}", f"METHODS={','.join(CHEAP)}")
    chance = random.Random(6)
    with forking(root) as parent:
        kill_run(parent, 0.0)  # answers once the imports are behind it
        began = time.monotonic()
        assert not kill_run(parent, math.inf)
        whole = time.monotonic() - began
        rounds = [(kill_run, parent, chance.uniform(0, 0.8) * whole) for _ in range(KILLS)]
        builds = make(root, "study", *part)
        rounds += [(kill_build, builds, chance.uniform(2, 12)) for _ in range(KILLED_BUILDS)]
        finished, killed, gained = found(root), 0, 0
        for kill, what, seconds in rounds:
            alive = kill(what, seconds)
            now = found(root)
            assert {path: now.get(path) for path in finished} == finished
            killed, gained = killed + alive, gained + alive * (len(now) - len(finished))
            gone = chance.sample(sorted(now), (len(now) + 1) // 2)
            remove(gone)
            finished = {path: now[path] for path in now if path not in gone}
        parent.stdin.close()
    assert killed > len(rounds) / 2 and gained > 0  # most were killed at work, and had finished something before
    code, said = made(root, "study", *part)
    assert code == 0, said
    now = found(root)
    assert {path: now.get(path) for path in finished} == finished
    assert {records.read(path)["run"]["id"] for path in now} == {run.id for run in protocol.runs("smoke", CHEAP)}
    assert list(root.glob("_build/**/*.part")) == []

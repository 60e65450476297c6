# The graph: runs → records → executed chapters → book. `make book` calls it; `make why` says what would run, and why.
#
# What a run leaves is its record in _build/records, written whole or not at all and kept whatever becomes of the job. A
# job goes through all classes and seeds of one method, skips what is current, and sums the records up as a table.

import atexit
import hashlib
import os
import shlex
import shutil
import sys
from glob import glob
from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.logging import logger

from fcdd_study import chapters, demos, graph, grid, hashes, plan, progress, protocol, records, slurm, why

PROFILE = config.get("profile", "quick")
DEVICE = config.get("device", "auto")
NORMAL = config.get("normal")  # None: each chapter's own
FIRST = protocol.data_sets(PROFILE)[0]  # the book is about the first
CHAPTERS = sorted(Path(file).stem for file in glob("notebooks/*.ipynb"))
if DEVICE.partition(":")[0] not in ("auto", "cpu", "cuda", "mps"):
    raise WorkflowError(f"unknown device {DEVICE!r}; expected auto, cpu, cuda or mps")
# Each job's cores, where a cluster runs it: make CLUSTER=slurm.
THREADS = slurm.cores(Path("fcdd_study/cluster") / config["cluster"] / "config.yaml") if config.get("cluster") else 1
# One job at a time where they would share a GPU.
GPU = int(DEVICE not in ("cpu", "mps") and shutil.which("nvidia-smi") is not None)
if " " in sys.executable:  # Snakemake writes it into the scripts of cluster jobs, and does not quote it there
    sys.executable = os.path.relpath(sys.executable)
PYTHON = shlex.quote(sys.executable)
RECORDED = ["data/published.yml", "data/reasons.yml", *sorted(glob("data/records/**/*.json", recursive=True))]


def asked(key):
    """Names after ``--config key=``, separated by commas; a digit, as MNIST has them, comes as a number."""
    value = config.get(key)
    return [name.strip() for name in ("" if value is None else str(value)).split(",") if name.strip()]


try:
    PARTS = {
        part.dataset: part
        for part in grid.parts(PROFILE, *map(asked, ("datasets", "methods", "classes", "ablations")))
    }
except (ValueError, FileNotFoundError) as error:
    raise WorkflowError(str(error))


def tables(part):
    """What is made of a part of the profile: a table for each method and each ablation."""
    return [f"_build/runs/{PROFILE}/{part.dataset}/{name}.csv" for name in part.methods] + [
        f"_build/ablations/{PROFILE}/{part.dataset}/{name}.csv" for name in part.ablations
    ]


TABLES = tables(grid.parts(PROFILE, [FIRST])[0]._replace(ablations=[]))

def executed_by_hand(file):
    """Whether an executed chapter is not as its run left it; a file that is not there is no matter."""
    return os.path.exists(file) and chapters.edited(Path(file))


def lost(file):
    """The runs of a table whose records are no longer there; a table that is not there is no matter."""
    return records.lost(file) if os.path.exists(file) else []


DRY = workflow.output_settings.dryrun  # says what would be done, and touches nothing
if workflow.is_main_process and not DRY:
    # Snakemake's own lock outlives a killed build and then refuses the next one; this one dies with its process.
    Path("_build").mkdir(exist_ok=True)
    LOCK = FileLock("_build/graph.lock")
    try:
        LOCK.acquire(timeout=0)
    except Timeout:
        raise WorkflowError("another build is running in this folder; wait for it to end")
    graph.remove_halves(Path("_build"))
    # A table that lists records which are no longer there has to be made again, and a chapter changed by hand.
    for file in filter(lost, glob(f"_build/*/{PROFILE}/*/*.csv")):
        Path(file).unlink()
    for file in filter(executed_by_hand, glob(f"_build/chapters/{PROFILE}/[0-9][0-9]*_*.ipynb")):
        if not file.endswith((".part.ipynb", ".failed.ipynb", ".edited.ipynb")):
            print(f"{file} was changed by hand; it is kept as .edited.ipynb, and made again", file=sys.stderr)
            os.replace(file, file.removesuffix(".ipynb") + ".edited.ipynb")
    PROGRESS = progress.Progress(
        lambda: [str(job.output[0]) for job in workflow.dag.needrun_jobs() if job.output], Path("_build/seconds.json")
    )
    progress.follow(logger, PROGRESS)
    atexit.register(PROGRESS.close)
    graph.on_interrupt(graph.once(PROGRESS.interrupt))


def runs_of(kind, wildcards):
    """How many runs a job has, and how many of them are not recorded and current."""
    if kind not in ("runs", "ablation"):
        return None
    dataset, name = wildcards["dataset"], [wildcards.get("method") or wildcards["name"]]
    classes = PARTS[dataset].classes if dataset in PARTS else []
    methods, ablations = (name, []) if kind == "runs" else ([], name)
    runs = grid.Part(PROFILE, dataset, methods, classes, ablations).runs()
    return len(runs), sum(not records.is_current(run) for run in runs)


if workflow.is_main_process and DRY and config.get("why"):
    WHY = why.Why(runs_of)
    progress.follow(logger, WHY)
    atexit.register(lambda: print("\n".join(WHY.report())))


def content(files):
    """sha256 over the files that are there: what they hold decides, and not how old they are."""
    digest = hashlib.sha256()
    for file in sorted(filter(os.path.isfile, map(str, files))):
        digest.update(f"{file} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def relative(files):
    return [os.path.relpath(file) for file in files]


def code_of(wildcards, method, changes=()):
    """The files behind a job's runs; their class and seed do not matter."""
    run = protocol.Run(wildcards.dataset, "", method, 0, wildcards.profile, changes)
    return relative(hashes.files_of(run))


def code_of_ablation(wildcards):
    study = ablation(wildcards)
    files = [code_of(wildcards, study["method"], changes) for changes in protocol.variants(study)]
    return sorted(set().union(*files))


def parameters(wildcards):
    """What a chapter is told: of these parameters those that it has, as not all are about one nominal class."""
    known = chapters.parameters(Path(f"notebooks/{wildcards.chapter}.ipynb"))
    told = {"profile": wildcards.profile, "device": DEVICE, "normal": NORMAL}
    pairs = [f"{key}={value}" for key, value in told.items() if key in known and value is not None]
    return " ".join(f"-p {shlex.quote(pair)}" for pair in pairs)


def ablation(wildcards):
    return protocol.profile(wildcards.profile, wildcards.dataset)["ablations"][wildcards.name]


def images(wildcards):
    """What else makes a table another one: which images, classes and seeds the profile takes."""
    entry = protocol.profile(wildcards.profile, wildcards.dataset)
    return {key: entry[key] for key in ("train", "test", "options", "classes", "seeds", "seeds_of", "size_of")}


def only_classes(wildcards):
    names = PARTS[wildcards.dataset].classes if wildcards.dataset in PARTS else []
    return " ".join(f"--normal {shlex.quote(name)}" for name in names)


# What every table of runs is made with. The job's words go into its log, where the line of progress finds its bar, and
# the report at the end its error.
RUN = "OMP_NUM_THREADS={threads} TQDM_MININTERVAL=5 TQDM_NCOLS=100 {PYTHON} -m fcdd study run"
RUN += " --profile {wildcards.profile} --dataset {wildcards.dataset} {params.classes} --device {DEVICE}"
RUN += " --table {output:q}"
LOGGED = " > {log:q} 2>&1"


localrules: book, study, html


rule book:
    default_target: True
    input: "_build/html/index.html"


def committed(part, name):
    """Whether all runs of a method or an ablation have a current record in data/records, so that none is made again."""
    methods, ablations = ([name], []) if name in part.methods else ([], [name])
    runs = part._replace(methods=methods, ablations=ablations).runs()
    return not config.get("again") and all(records.is_current(run, records.COMMITTED) for run in runs)


def left_to_make(wildcards):
    return [file for part in PARTS.values() for file in tables(part) if not committed(part, Path(file).stem)]


rule study:
    input: left_to_make
    message: "nothing is left to do: all runs that were asked for are recorded, in _build/records or data/records"


rule runs:
    input: lambda wildcards: code_of(wildcards, wildcards.method)
    output: "_build/runs/{profile}/{dataset}/{method}.csv"
    # In the order of the plan, and before chapters, as chapter 08 waits for all of them.
    priority: lambda wildcards: 1 + plan.priority(wildcards.profile, wildcards.dataset, wildcards.method)
    log: "_build/logs/runs/{profile}/{dataset}/{method}.csv.txt"
    params:
        settings=lambda wildcards: protocol.settings(wildcards.profile, wildcards.method, wildcards.dataset),
        images=images,
        classes=only_classes,
        content=lambda wildcards: content(code_of(wildcards, wildcards.method)),
        lost=lambda wildcards: lost("_build/runs/{profile}/{dataset}/{method}.csv".format(**wildcards)),
    threads: THREADS
    resources: gpu=GPU
    message: "training {wildcards.method} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: RUN + " --method {wildcards.method}" + LOGGED


rule ablation:
    input: code_of_ablation
    output: "_build/ablations/{profile}/{dataset}/{name}.csv"
    priority: lambda wildcards: plan.priority(wildcards.profile, wildcards.dataset, wildcards.name)
    log: "_build/logs/ablations/{profile}/{dataset}/{name}.csv.txt"
    params:
        settings=lambda wildcards: (
            ablation(wildcards),
            protocol.settings(wildcards.profile, ablation(wildcards)["method"], wildcards.dataset),
        ),
        images=images,
        classes=only_classes,
        content=lambda wildcards: content(code_of_ablation(wildcards)),
        lost=lambda wildcards: lost("_build/ablations/{profile}/{dataset}/{name}.csv".format(**wildcards)),
    threads: THREADS
    resources: gpu=GPU
    message: "ablation {wildcards.name} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: RUN + " --ablation {wildcards.name}" + LOGGED


def code_of_chapter(wildcards):
    return relative(chapters.code_files(Path(f"notebooks/{wildcards.chapter}.ipynb")))


def tables_of_chapter(wildcards):
    text = Path(f"notebooks/{wildcards.chapter}.ipynb").read_text(encoding="utf-8")
    return [*(TABLES if "study.ensure(" in text else []), *(RECORDED if "COMMITTED" in text else [])]


def content_of_chapter(wildcards):
    notebook = f"notebooks/{wildcards.chapter}.ipynb"
    return content([notebook, *code_of_chapter(wildcards), *tables_of_chapter(wildcards)])


rule chapter:
    input:
        notebook="notebooks/{chapter}.ipynb",
        code=code_of_chapter,
        tables=tables_of_chapter,
    output: "_build/chapters/{profile}/{chapter}.ipynb"
    log: "_build/logs/chapters/{profile}/{chapter}.ipynb.txt"
    params:
        settings=lambda wildcards: protocol.profile(wildcards.profile),
        parameters=parameters,
        content=content_of_chapter,
        by_hand=lambda wildcards: executed_by_hand("_build/chapters/{profile}/{chapter}.ipynb".format(**wildcards)),
    resources: gpu=GPU
    message: "executing chapter {wildcards.chapter}, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} {PYTHON} -m fcdd study chapter {input.notebook:q} {output:q}"
        " {params.parameters}" + LOGGED


BEHIND_DEMOS = relative(hashes.files_behind(set(), *(f"fcdd_study.demos.{name}" for name in demos.FIGURES)))


rule demos:
    input: BEHIND_DEMOS
    output: expand("_build/demos/{{profile}}/{name}.{kind}", name=demos.FIGURES, kind=("data.js", "png"))
    log: "_build/logs/demos/{profile}.txt"
    params:
        settings=lambda wildcards: protocol.profile(wildcards.profile),
        content=lambda wildcards: content(BEHIND_DEMOS),
    resources: gpu=GPU
    message: "figures that move, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} {PYTHON} -m fcdd study demos _build/demos/{wildcards.profile}"
        " --profile {wildcards.profile} --device {DEVICE}" + LOGGED


BEHIND_DETECTOR = relative(hashes.files_behind(set(), "fcdd_study.one_file"))


rule detector:
    input: BEHIND_DETECTOR
    output: "_build/detector/{profile}/told.txt"
    log: "_build/logs/detector/{profile}.txt"
    params: content=lambda wildcards: content(BEHIND_DETECTOR)
    resources: gpu=GPU
    message: "a detector in one HTML file"
    shell: "OMP_NUM_THREADS={threads} {PYTHON} -m fcdd study detector {output:q} --profile {wildcards.profile}" + LOGGED


EXECUTED = expand("_build/chapters/{profile}/{chapter}.ipynb", profile=PROFILE, chapter=CHAPTERS)
MOVING = expand("_build/demos/{profile}/{name}.data.js", profile=PROFILE, name=demos.FIGURES)
DETECTOR = f"_build/detector/{PROFILE}/told.txt"
SHOWN = [
    *TABLES, *RECORDED, "benchmarks/report.py", *sorted(glob("benchmarks/records/*.json")),
    *sorted(file for file in glob("book/**", recursive=True) if os.path.isfile(file) and "__pycache__" not in file),
    "_config.yml", "_toc.yml", "fcdd_study/book.py",
    *sorted(glob("fcdd*/**/*.py", recursive=True)),  # the page of the library shows its docstrings
]


rule html:
    input: EXECUTED, MOVING, DETECTOR, SHOWN
    output: "_build/html/index.html"
    log: "_build/logs/html.txt"
    params: content=lambda wildcards: content([*EXECUTED, *MOVING, DETECTOR, *SHOWN])
    message: "rendering the book"
    shell: "{PYTHON} -m fcdd study render --profile {PROFILE}" + LOGGED


onstart:
    shutil.rmtree("_build/logs", ignore_errors=True)


onsuccess:
    PROGRESS.close()
    made = {str(file) for job in workflow.dag.jobs for file in job.output}
    page = "_build/html/index.html"
    if page in made:
        print(f"done: {page}", file=sys.stderr)
    elif left_to_make(None):
        print("done: fresh records are in _build/records, current ones of data/records stay there", file=sys.stderr)
    else:
        print("nothing to do: all runs that were asked for have a current record in data/records", file=sys.stderr)
    print(plan.spent(PROFILE), file=sys.stderr)


onerror:
    PROGRESS.close()
    if report := PROGRESS.report():
        print("", *report, sep="\n", file=sys.stderr)

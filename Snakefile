# The graph: runs → records → executed chapters → book. `make book` calls it; `make why` says what would run, and why.
#
# What a run leaves is its record in _build/records, written whole or not at all and kept whatever becomes of the job. A
# job goes through all classes and seeds of one method, skips what is current, and sums the records up as a table.

import os
import shlex
import shutil
import sys
from glob import glob
from pathlib import Path

from filelock import FileLock, Timeout

from fcdd_study import chapters, grid, hashes, protocol, records

PROFILE = config.get("profile", "quick")
DEVICE = config.get("device", "auto")
NORMAL = config.get("normal")  # None: each chapter's own
FIRST = protocol.data_sets(PROFILE)[0]  # the book is about the first
CHAPTERS = sorted(Path(file).stem for file in glob("notebooks/*.ipynb"))
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

if workflow.is_main_process:
    # Snakemake's own lock outlives a killed build and then refuses the next one; this one dies with its process.
    Path("_build").mkdir(exist_ok=True)
    LOCK = FileLock("_build/graph.lock")
    try:
        LOCK.acquire(timeout=0)
    except Timeout:
        raise WorkflowError("another build is running in this folder; wait for it to end")
    # A table that lists records which are no longer there has to be made again.
    for file in glob(f"_build/*/{PROFILE}/*/*.csv"):
        if records.lost(file):
            Path(file).unlink()


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
    return {key: entry[key] for key in ("train", "test", "options", "classes", "seeds")}


def only_classes(wildcards):
    names = PARTS[wildcards.dataset].classes if wildcards.dataset in PARTS else []
    return " ".join(f"--normal {shlex.quote(name)}" for name in names)


# What every table of runs is made with. The job's words go to the terminal and into its log, for the report at the end;
# two jobs share the terminal, so that bars stay on one line and fill it.
COLUMNS = shutil.get_terminal_size((100, 24)).columns - 1
RUN = "OMP_NUM_THREADS={threads} TQDM_MININTERVAL=5 TQDM_POSITION=0 TQDM_NCOLS={COLUMNS} {PYTHON} -m fcdd study run"
RUN += " --profile {wildcards.profile} --dataset {wildcards.dataset} {params.classes} --device {DEVICE}"
RUN += " --table {output:q}"
LOGGED = " 2>&1 | tee {log:q}"


localrules: book, study, html


rule book:
    default_target: True
    input: "_build/html/index.html"


rule study:
    input: [file for part in PARTS.values() for file in tables(part)]
    message: "all runs that were asked for are recorded in _build/records"


rule runs:
    input: lambda wildcards: code_of(wildcards, wildcards.method)
    output: "_build/runs/{profile}/{dataset}/{method}.csv"
    priority: 1  # first, as chapter 08 waits for all of them
    log: "_build/logs/runs/{profile}/{dataset}/{method}.csv.txt"
    params:
        settings=lambda wildcards: protocol.settings(wildcards.profile, wildcards.method, wildcards.dataset),
        images=images,
        classes=only_classes,
    resources: gpu=GPU
    message: "training {wildcards.method} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: RUN + " --method {wildcards.method}" + LOGGED


rule ablation:
    input: code_of_ablation
    output: "_build/ablations/{profile}/{dataset}/{name}.csv"
    log: "_build/logs/ablations/{profile}/{dataset}/{name}.csv.txt"
    params:
        settings=lambda wildcards: (
            ablation(wildcards),
            protocol.settings(wildcards.profile, ablation(wildcards)["method"], wildcards.dataset),
        ),
        images=images,
        classes=only_classes,
    resources: gpu=GPU
    message: "ablation {wildcards.name} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: RUN + " --ablation {wildcards.name}" + LOGGED


rule chapter:
    input:
        notebook="notebooks/{chapter}.ipynb",
        code=lambda wildcards: relative(chapters.code_files(Path(f"notebooks/{wildcards.chapter}.ipynb"))),
        tables=lambda wildcards: {"08_study": [*TABLES, *RECORDED], "09_beyond": RECORDED}.get(wildcards.chapter, []),
    output: "_build/chapters/{profile}/{chapter}.ipynb"
    log: "_build/logs/chapters/{profile}/{chapter}.ipynb.txt"
    params:
        settings=lambda wildcards: protocol.profile(wildcards.profile),
        parameters=parameters,
    resources: gpu=GPU
    message: "executing chapter {wildcards.chapter}, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} {PYTHON} -m fcdd study chapter {input.notebook:q} {output:q}"
        " {params.parameters}" + LOGGED


rule html:
    input:
        chapters=expand("_build/chapters/{profile}/{chapter}.ipynb", profile=PROFILE, chapter=CHAPTERS),
        tables=[*TABLES, *RECORDED, "benchmarks/report.py", *sorted(glob("benchmarks/records/*.json"))],
        pages=[file for file in glob("book/**", recursive=True) if os.path.isfile(file) and "__pycache__" not in file],
        config=["_config.yml", "_toc.yml", "fcdd_study/book.py"],
        library=glob("fcdd*/**/*.py", recursive=True),  # the page of the library shows its docstrings
    output: "_build/html/index.html"
    message: "rendering the book"
    shell: "{PYTHON} -m fcdd study render --profile {PROFILE}"


def last_words(log):
    """What a job said in the end: its error, or its last line if it was ended before it could say one."""
    lines = [line for line in Path(log).read_text(errors="replace").splitlines() if line.strip()] or ["(nothing)"]
    return lines[next((k for k, line in enumerate(lines) if line.startswith("error: ")), -1) :]


onstart:
    shutil.rmtree("_build/logs", ignore_errors=True)


onerror:
    logs = sorted(glob("_build/logs/**/*.txt", recursive=True))
    failed = [file for file in logs if not Path(file.replace("/logs", "", 1).removesuffix(".txt")).exists()]
    print(f"\nof {len(logs)} jobs {len(failed)} failed; what the others made is kept:", file=sys.stderr)
    for file in failed:
        print(f"\n{file} ends with", *last_words(file), sep="\n  ", file=sys.stderr)

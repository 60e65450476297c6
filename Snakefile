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

from fcdd.study import chapters, code, protocol

PROFILE = config.get("profile", "quick")
DEVICE = config.get("device", "auto")
NORMAL = config.get("normal")  # None: each chapter's own
FIRST, *OTHERS = protocol.data_sets(PROFILE)  # the book is about the first
CLASSES, ONLY_METHODS, ONLY_DATA = (
    [part.strip() for part in str(config.get(key) or "").split(",") if part.strip()]
    for key in ("classes", "methods", "datasets")
)
CHAPTERS = sorted(Path(file).stem for file in glob("notebooks/*.ipynb"))
NEED_RUNS = ["08_study"]
# One job at a time where they would share a GPU.
GPU = int(DEVICE not in ("cpu", "mps") and shutil.which("nvidia-smi") is not None)
PYTHON = shlex.quote(sys.executable)
RECORDED = ["data/published.yml", *sorted(glob("data/records/**/*.json", recursive=True))]


def tables(dataset):
    """The tables of a data set's methods, as far as they are wanted."""
    methods = [method for method in protocol.profile(PROFILE, dataset)["methods"] if method in (ONLY_METHODS or [method])]
    return expand("_build/runs/{profile}/{dataset}/{method}.csv", profile=PROFILE, dataset=dataset, method=methods)


def ablations(dataset):
    names = [] if CLASSES or ONLY_METHODS else protocol.profile(PROFILE, dataset)["ablations"]
    return expand("_build/ablations/{profile}/{dataset}/{name}.csv", profile=PROFILE, dataset=dataset, name=names)


TABLES = tables(FIRST)
WANTED = [dataset for dataset in (FIRST, *OTHERS) if dataset in (ONLY_DATA or [dataset])]

# Snakemake's own lock outlives a killed build and then refuses the next one; this one dies with its process.
if workflow.is_main_process:
    Path("_build").mkdir(exist_ok=True)
    LOCK = FileLock("_build/graph.lock")
    try:
        LOCK.acquire(timeout=0)
    except Timeout:
        raise WorkflowError("another build is running in this folder; wait for it to end")


def relative(files):
    return [os.path.relpath(file) for file in files]


def parameters(wildcards):
    """What a chapter is told: of these parameters those that it has, as not all are about one nominal class."""
    known = chapters.parameters(Path(f"notebooks/{wildcards.chapter}.ipynb"))
    told = {"profile": wildcards.profile, "device": DEVICE, "normal": NORMAL}
    pairs = [f"{key}={value}" for key, value in told.items() if key in known and value is not None]
    return " ".join(f"-p {shlex.quote(pair)}" for pair in pairs)


rule book:
    default_target: True
    input: "_build/html/index.html"


rule study:
    input: [file for dataset in WANTED for file in (*tables(dataset), *ablations(dataset))]


rule runs:
    input: lambda wildcards: relative(code.files_of_method(wildcards.method))
    output: "_build/runs/{profile}/{dataset}/{method}.csv"
    params:
        settings=lambda wildcards: protocol.settings(wildcards.profile, wildcards.method, wildcards.dataset),
        images=lambda wildcards: protocol.selection(wildcards.profile, wildcards.dataset),
        seeds=lambda wildcards: protocol.profile(wildcards.profile, wildcards.dataset)["seeds"],
        classes=" ".join(f"--normal {shlex.quote(name)}" for name in CLASSES),
    resources: gpu=GPU
    message: "training {wildcards.method} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} TQDM_MININTERVAL=5 {PYTHON} -m fcdd study run --profile {wildcards.profile}"
        " --dataset {wildcards.dataset} --method {wildcards.method} {params.classes} --device {DEVICE} --table {output:q}"


rule ablation:
    input:
        lambda wildcards: relative(
            code.files_of_method(protocol.ablation(wildcards.profile, wildcards.name, wildcards.dataset)[0].method)
        )
    output: "_build/ablations/{profile}/{dataset}/{name}.csv"
    params:
        settings=lambda wildcards: protocol.profile(wildcards.profile, wildcards.dataset)["ablations"][wildcards.name],
    resources: gpu=GPU
    message: "ablation {wildcards.name} on {wildcards.dataset}, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} TQDM_MININTERVAL=5 {PYTHON} -m fcdd study run --profile {wildcards.profile}"
        " --dataset {wildcards.dataset} --ablation {wildcards.name} --device {DEVICE} --table {output:q}"


rule chapter:
    input:
        notebook="notebooks/{chapter}.ipynb",
        code=lambda wildcards: relative(chapters.code_files(Path(f"notebooks/{wildcards.chapter}.ipynb"))),
        tables=lambda wildcards: [*TABLES, *RECORDED] if wildcards.chapter in NEED_RUNS else [],
    output: "_build/chapters/{profile}/{chapter}.ipynb"
    params:
        settings=lambda wildcards: protocol.profile(wildcards.profile),
        parameters=parameters,
    resources: gpu=GPU
    message: "executing chapter {wildcards.chapter}, profile {wildcards.profile}"
    shell: "OMP_NUM_THREADS={threads} {PYTHON} -m fcdd study chapter {input.notebook:q} {output:q}"
        " {params.parameters}"


rule html:
    input:
        chapters=expand("_build/chapters/{profile}/{chapter}.ipynb", profile=PROFILE, chapter=CHAPTERS),
        tables=[*TABLES, *RECORDED],
        pages=[file for file in glob("book/**", recursive=True) if os.path.isfile(file) and "__pycache__" not in file],
        config=["_config.yml", "_toc.yml", "fcdd/study/book.py"],
        library=glob("fcdd/**/*.py", recursive=True),  # the page of the library shows its docstrings
    output: "_build/html/index.html"
    message: "rendering the book"
    shell: "{PYTHON} -m fcdd study render --profile {PROFILE}"

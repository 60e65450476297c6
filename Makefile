# Two commands do everything: `make book` and `make check`. `make help` lists the rest.
PROFILE ?= quick
DEVICE  ?= auto
CORES   ?= 2
PYTHON  ?= python3
ARGS    ?=
# Which part of a profile `make study` runs, names separated by commas; all if left out:
# make study PROFILE=full DATASETS=cifar10 METHODS=fcdd,hsc CLASSES="cat,dog"
DATASETS  ?=
METHODS   ?=
CLASSES   ?=
ABLATIONS ?=
# Where its jobs run: here, or as a profile below fcdd_study/cluster/ says, as in CLUSTER=slurm.
CLUSTER ?=
# What `make why` is about: book or study.
WHAT ?= book
# make study AGAIN=1 also trains what has a current record in data/records.
AGAIN ?=
# make pdf SOLUTIONS=1 prints the answers, too.
SOLUTIONS ?=

# A variable that no command reads is a misspelt one: `make study METHOD=hsc` would run everything.
OF_STUDY := DATASETS METHODS CLASSES ABLATIONS AGAIN
KNOWN := PROFILE DEVICE CORES PYTHON ARGS CLUSTER WHAT RECORD SOLUTIONS $(OF_STUDY)
ASKED := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN),$(ASKED))
$(foreach name,$(firstword $(UNKNOWN)),$(error unknown variable $(name); $(shell $(PYTHON) -c 'import difflib, sys; \
	near = difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1); \
	print(f"did you mean {near[0]}?" if near else "known: " + ", ".join(sys.argv[2:]))' $(name) $(KNOWN))))
# So is a part of the study for a command that runs the whole of something else.
GOALS := $(or $(MAKECMDGOALS),help)
OF_WHY := $(if $(filter study,$(WHAT)),why)
PARTLY := $(filter $(OF_STUDY),$(ASKED))
$(if $(PARTLY),$(foreach goal,$(filter-out study $(OF_WHY),$(GOALS)),$(error make $(goal) takes no $(PARTLY); a part of the \
	study is run by: make study $(firstword $(PARTLY))=..., and listed by: make why WHAT=study $(firstword $(PARTLY))=...)))
# What comes from the shell's environment is said.
$(foreach name,$(KNOWN),$(if $(filter environment,$(origin $(name))),$(info $(name)=$($(name)), from the environment)))

# Modules are run with `python -m`: the scripts in .venv/bin break in folders whose path holds a space.
PY := .venv/bin/python
SNAKEMAKE := $(PY) -m fcdd_study.graph
# Snakemake looks again after each timespan, whether or not a job has ended: every second is a tenth of a core.
OPTIONS := --scheduler greedy --rerun-incomplete --nolock --keep-going --quiet host --max-jobs-per-timespan 1000/3s $(ARGS) \
	$(if $(CLUSTER),--profile fcdd_study/cluster/$(CLUSTER),--cores $(CORES) --resources gpu=1) \
	--config profile=$(PROFILE) device=$(DEVICE) $(if $(CLUSTER),cluster=$(CLUSTER)) $(if $(AGAIN),again=1)
PART := "datasets=$(DATASETS)" "methods=$(METHODS)" "classes=$(CLASSES)" "ablations=$(ABLATIONS)"

# Where a shell forbids byte code, each of the many processes would compile all of PyTorch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help book course pdf bench gpu check test test-slow audit why study setup lock clean
.DEFAULT_GOAL := help

help:            ## list the commands
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

setup: .venv/.stamp ## make the virtual environment in .venv (the other commands do it themselves)

.venv/.stamp: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		"expected Python 3.11 to 3.13, found %d.%d; name another one, as in: make book PYTHON=python3.12" % v)'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'
	$(PY) -m uv pip install --quiet --python $(PY) --require-hashes -r requirements.lock
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps -e .
	@touch .venv/.stamp

book: .venv/.stamp ## train, execute the chapters, render: _build/html/index.html
	@$(SNAKEMAKE) book $(OPTIONS)

course: book ## to teach with: notebooks without and with answers, slides, plans, as a folder and a zip: _build/course
	@$(PY) -m fcdd study course --profile $(PROFILE)

pdf: book ## the book on paper: _build/book.pdf; SOLUTIONS=1 prints the answers, too
	@$(PY) -m fcdd study pdf $(if $(SOLUTIONS),--solutions)

study: .venv/.stamp ## only the runs of a profile, or of a part: make study PROFILE=full CLASSES=Bag,Shirt AGAIN=1
	@$(SNAKEMAKE) study $(OPTIONS) $(PART)

why: .venv/.stamp ## what `make book` would run now, and why; with WHAT=study what `make study` would
	@$(SNAKEMAKE) $(WHAT) --dry-run $(OPTIONS) why=1 $(if $(filter study,$(WHAT)),$(PART))

bench: .venv/.stamp ## speed against what one would write without us; RECORD=1 keeps it for the book
	@$(PY) -m benchmarks --device $(DEVICE) $(if $(RECORD),--record) $(ARGS)

gpu: .venv/.stamp ## on one card, about half an hour: device tests, speed beside others, a class of each data set at the paper's schedule
	@$(PY) -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else \
		"expected a GPU that PyTorch can use, found none: torch.cuda.is_available() is False")'
	@$(PY) -m pytest -q -n 0 tests/test_device.py
	@$(PY) -m benchmarks --device cuda --record
	@$(MAKE) --no-print-directory study PROFILE=gpu DEVICE=cuda; code=$$?; mkdir -p data/records && \
		cp -R _build/records/gpu data/records/ && $(PY) -m fcdd study verdicts --profile gpu; exit $$code

# Tests call make themselves: what was said on this one's command line is not meant for theirs.
PYTEST := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u ARGS $(PY) -m pytest

check: .venv/.stamp ## for each commit: formatter, linter, types, the fast tests
	@start=$$(date +%s); $(PY) -m ruff format --check --quiet . && $(PY) -m ruff check --quiet . && $(PY) -m mypy && \
		$(PYTEST) -q -m "not slow and not medium" $(ARGS) && echo "checked in $$(($$(date +%s) - start)) s"

test: .venv/.stamp ## the test suite, but for what takes long
	@$(PYTEST) -q -m "not slow" $(ARGS)

test-slow: .venv/.stamp ## what takes long: the whole book in a browser, a cluster, kills, an installation
	@$(PYTEST) -q -m slow $(ARGS)

audit: .venv/.stamp ## known weaknesses of the packages that requirements.lock pins; needs the network
	@$(PY) .ci/audit

lock: .venv/.stamp ## bring requirements.lock in step with pyproject.toml; make lock ARGS=--upgrade for newer versions
	$(PY) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 $(ARGS) --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --output-file requirements.lock --quiet

clean:           ## remove what was built (not .venv, not data/cache)
	rm -rf _build .snakemake

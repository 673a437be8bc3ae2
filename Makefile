# Every target makes the virtual environment first: a fresh clone needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
BASE := $(if $(base),--base $(base))
export OMP_NUM_THREADS := 1

SAMPLE := FAULTS_KILLS=2 FAULTS_EVERY=11 S2S_FUZZ_SECONDS=3

.PHONY: help setup setup-dev study plan report index ui test test-slow test-full lint check docs bench calibration lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: .venv/ready  ## the virtual environment, for running studies
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing packages into .venv (once; a minute or two)"
	@$(PIP) -e .
	@touch $@

setup-dev: .venv/ready-dev  ## the same, with what tests and checks need
.venv/ready-dev: .venv/ready
	@$(PIP) -e '.[dev]'
	@touch $@

study: .venv/ready  ## name=masking [base=scan] [args="--seeds 3"]: run a study and write its report
	@$(if $(name),,echo "which study? make study name=masking; known: $(basename $(notdir $(wildcard studies/*.yaml)) $(patsubst studies/%,%,$(wildcard studies/replications/*.yaml)))"; exit 2)
	@$(BIN)/s2s run $(name) $(BASE) $(args)

plan: .venv/ready  ## name=masking: what would run, and how long it takes
	@$(BIN)/s2s plan $(name) $(BASE) $(args)

report: .venv/ready  ## name=masking: write the report anew from what is stored
	@$(BIN)/s2s report $(name) $(BASE) $(args)

index: .venv/ready  ## one page over all results: results/index.html
	@$(BIN)/s2s index

ui: .venv/ready  ## MLflow's page on this machine: runs, parameters, curves, artifacts
	@$(BIN)/s2s ui $(args)

test: .venv/ready-dev  ## the fast tests
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(CORES) $(args)

test-slow: .venv/ready-dev  ## a sample of the slow tests, as CI runs it: kills, damage, Ray, pages, whole studies
	@HF_HUB_OFFLINE=1 $(SAMPLE) $(BIN)/python -m pytest -m 'slow and not full' -n $(CORES) $(args)

test-full: .venv/ready-dev  ## every slow test: every kill, every damaged file, the laws for every pair of settings
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow -n $(CORES) $(args)

lint: .venv/ready-dev  ## style, types, and the import law
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint test  ## all that must pass before a change lands

docs: .venv/ready-dev  ## the reference pages from the code, and the manual as a site: site/index.html
	@$(BIN)/python -m harness.cli.reference
	@$(BIN)/python docs/site.py

bench: .venv/ready-dev  ## how fast: ratios and times measured on this machine, in one run
	@$(BIN)/python -m tests.bench $(args)

calibration: .venv/ready-dev  ## how often the statistics are wrong, simulated: twenty minutes, or args="--quick"
	@$(BIN)/python -m tests.calibration --document docs/statistics.md $(args)

lock: .venv/ready-dev  ## resolve constraints.txt anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --extra dev --no-annotate --no-header pyproject.toml -o constraints.txt

clean:  ## remove the virtual environment and caches; results and runs stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info

# `make demo` and `make test` do all the set-up on a fresh machine: a virtual environment with the
# exact versions of requirements.lock. PYTHON=python3.12 uses another interpreter.

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(VERSION)
BIN := $(VENV)/bin
NEWEST := .venv-newest-$(VERSION)
ONNX := .venv-onnx-$(VERSION)
DEMO := runs/demo
# `make test` compiles with XLA's older, quicker emitters where JAX still has them; users do not.
AS_USERS := COMPILE_AS_USERS=1
SPOKEN := --dataset=synthetic --of=all --gap_s=0.5 --snr_db=20

# Otherwise each process would compile anew what it imports of the environment.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: env demo test test-slow fuzz test-survival test-newest test-onnx lint types docs lock clean help

env: $(VENV)/ready ## the virtual environment alone
	@echo 'enter it by: . $(BIN)/activate'

demo: $(VENV)/ready ## train on spoken words, without a download, and listen; about ten minutes
	$(BIN)/python -m experiments.speech --dataset=synthetic --beta=0.2 --epochs=40 --workdir=$(DEMO)
	$(BIN)/python -m deploy.calibrate $(DEMO) --max_false_alarms_per_hour=180 $(SPOKEN) --synthesize=10
	$(BIN)/python -m deploy.measure $(DEMO) $(SPOKEN) --synthesize=1 --save=$(DEMO)/minute.wav
	$(BIN)/python -m deploy.listen $(DEMO) --input=$(DEMO)/minute.wav --plot=$(DEMO)/minute.png
	$(BIN)/python -m deploy.export $(DEMO) --format=web --out=$(DEMO)/page
	@echo "see $(DEMO)/report.md, $(DEMO)/minute.png and, with your microphone, $(DEMO)/page/index.html"

# One process more than the two cores of a small machine: some tests wait for what they start.
test: lint types ## lint, types and tests
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-slow: $(VENV)/ready ## the tests that take minutes, or a package index
	$(AS_USERS) $(BIN)/python -m pytest -m slow

fuzz: $(VENV)/ready ## mutated sound files, folders, caches and archives through every reader; 15 minutes
	$(BIN)/python -m tests.fuzz --files=22000 --seed=0

test-survival: $(VENV)/ready ## 200 kills of a run, then every damage to every file of one; an hour
	$(BIN)/python -m tests.survival kills --kills=200 --seed=0
	$(BIN)/python -m tests.survival damage

# An environment of its own, made anew each time, without setup.cfg's bounds and without the lock:
# what passes here says whether the upper bound of JAX may rise. The tests run from the tree.
test-newest: ## the numerical tests on the newest JAX that PYTHON can install
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/pip install --quiet jax flax optax numpy chex equinox hypothesis pytest pytest-xdist
	$(NEWEST)/bin/python -c 'import jax; print("JAX", jax.__version__)'
	$(AS_USERS) $(NEWEST)/bin/python -m pytest -n 2 --dist worksteal tests/rc_jax

# jax2onnx needs an older Orbax than `experiments` does: an environment of its own.
test-onnx: ## what deploy.export writes for ONNX, on ONNX Runtime
	$(PYTHON) -m venv --clear $(ONNX)
	$(ONNX)/bin/pip install --quiet --editable '.[onnx]' hypothesis pytest
	$(ONNX)/bin/python -m pytest tests/deploy/export/test_graphs.py

lint: $(VENV)/ready ## ruff's lint, and whether its format is kept
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready ## mypy
	$(BIN)/mypy --num-workers=2

docs: $(VENV)/ready ## the site of docs/ and the docstrings, and a page that hears, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m deploy.export trained/zero_to_five --format=web --out=site/zero_to_five

# Versions that still satisfy setup.cfg stay as they are. UPGRADE=--upgrade takes the newest ones,
# UPGRADE='--upgrade-package jax' those of one package.
lock: $(VENV)/ready ## resolve setup.cfg anew for every supported Python
	$(BIN)/pip install --quiet 'uv>=0.9'
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --extra docs --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --quiet $(UPGRADE) \
	  --output-file requirements.lock setup.cfg

# A failed installation leaves the marker old or missing, so that the next `make` tries again.
# The lock has all that is needed, so nothing is resolved; and Python compiles a module where it is
# first imported, a twentieth of those that are installed.
$(VENV)/ready: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --no-compile --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pip check --quiet
	touch $@

clean: ## remove environments and caches, keep runs
	rm -rf .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site *.egg-info

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

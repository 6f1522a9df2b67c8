# `make demo` and `make test` do all the set-up on a fresh machine: a virtual environment with the
# exact versions of requirements.lock. PYTHON=python3.12 uses another interpreter.

PYTHON ?= python3
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: demo test test-slow lint types lock clean

demo: $(VENV)/ready ## train on words spoken by a synthesizer, no download; under 10 minutes
	$(BIN)/python -m experiments.speech --dataset=synthetic --beta=0.2 --epochs=40 --workdir=$(DEMO)
	@echo "see $(DEMO)/report.md and $(DEMO)/figures/"

test: lint types ## lint, types and tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/ready ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

lock: $(VENV)/ready ## resolve setup.cfg anew for every supported Python
	$(BIN)/pip install --quiet 'uv>=0.9'
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --upgrade \
	  --output-file requirements.lock setup.cfg

$(VENV)/ready: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

clean: ## remove environments and caches, keep runs
	rm -rf .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

# make demo and make test each set up everything they need: Python 3.11 or newer, git and make suffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 100

.DEFAULT_GOAL := help
.PHONY: help demo test bench soak lock format docs

help:  ## what can be made here
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "pmrun needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.ready  ## the whole promise in about two minutes, on the embedded exchange
	@$(BIN)/python -m runner.demo

test: $(VENV)/.ready  ## everything a contribution must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist worksteal -m "not soak"

soak: $(VENV)/.ready  ## long crash runs; SEEDS=n sets how many kills
	SEEDS=$(SEEDS) $(BIN)/pytest -n auto -m soak --timeout 3600

bench: $(VENV)/.ready  ## side-by-side figures
	$(BIN)/python -m bench

lock: $(VENV)/.ready  ## pin every dependency with its hashes
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-options --no-header \
		--output-file requirements.lock pyproject.toml

docs: $(VENV)/.ready  ## write what is generated in docs/
	$(BIN)/python -c 'from pathlib import Path; from runner.core.lifecycles import document; Path("docs/lifecycles.md").write_text(document(), "utf-8")'
	$(BIN)/python tests/conformance/calls.py

format: $(VENV)/.ready  ## rewrite the code in the common format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Each chore is one short command. `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
export LIT_DATA ?= $(CURDIR)/data
# Where it is set, each of the many processes of a test run or a build would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
# Files of tests run side by side, each worker with a broker of its own: much of a test's time is waiting.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(UV):
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==0.13.9

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m lit.streams.broker setup
	@touch $@

setup: .venv/.installed  ## install everything into .venv and build the page
	@$(BIN)/python ui/build.py

lock: | $(UV)  ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group dev pyproject.toml -o requirements.lock

demo: setup  ## from tick files to live predictions; ARGS=--once stops by itself
	$(BIN)/lit demo $(ARGS)

test: setup  ## run all tests
	$(PYTEST)

faults: setup  ## only the tests that kill processes
	$(PYTEST) -m fault

bench: setup  ## what it costs, as ratios to references of the same run
	$(BIN)/lit bench bars
	$(BIN)/lit bench ingest
	$(BIN)/lit bench memory
	$(BIN)/lit bench data
	$(BIN)/lit bench build
	$(BIN)/lit bench live
	$(BIN)/lit bench clients

lint: setup  ## lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: help setup lock demo test faults bench lint

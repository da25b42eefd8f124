# Everything from a bare checkout: Python 3.11 or newer, pip and make are all that it takes.
#
#   make demo     train, load in a second process and in a notebook, train again: on 336 776 real flights
#   make test     lint, types, layers and tests
#
# PYTHON names the interpreter, VENV the folder of the environment that is made once.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$each && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST_ARGS ?=

# Where the demo keeps its store and its executed notebook; begun anew each time.
DEMO_FOLDER ?= demo-store

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types layers pytest format bench lock clean

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

$(STAMP): pyproject.toml requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: name one with PYTHON=..." >&2; exit 1; }
	@echo "installing into $(VENV)"
	@# Debian's Python comes without ensurepip; then the outer pip installs one.
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@# Compiling every module takes as long as all the rest; what is imported is compiled then.
	@$(PIP) install --no-compile -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	@$(BIN)/python examples/flights/demo.py --folder $(DEMO_FOLDER)

test: lint types layers pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The environment variable keeps pyright from asking the network for a newer version of itself.
types: $(STAMP)
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

layers: $(STAMP)
	$(BIN)/lint-imports

pytest: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

# In two steps: s3fs leaves botocore a narrow range, and a resolver that picks boto3 first searches for long.
lock:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: name one with PYTHON=..." >&2; exit 1; }
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --editable .
	.venv-lock/bin/pip freeze --exclude-editable > .venv-lock/run-time.txt
	.venv-lock/bin/pip install --quiet --constraint .venv-lock/run-time.txt --editable '.[dev]'
	{ head -n 1 requirements/dev.txt; .venv-lock/bin/pip freeze --exclude-editable; } > .venv-lock/dev.txt
	mv .venv-lock/dev.txt requirements/dev.txt && rm -rf .venv-lock

clean:
	rm -rf .venv .venv-ci .venv-lock build dist demo-store
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find benchmarks client datastore docs examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

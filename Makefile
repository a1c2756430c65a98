# `make` alone explains the targets. Whatever they install goes into .venv, at the versions and
# hashes of requirements/*.txt; a second run installs nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help serve test check format docs bench

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

RECENT := import sys; sys.exit(sys.version_info < (3, 11))
# The first that is recent enough; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(RECENT)' 2>/dev/null && echo $$p && break; done)

help: ## say what the targets do
	@awk -F ' *## ' '/^[a-z]+:.* ## / { sub(/:.*/, "", $$1); printf "make %-7s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

serve: $(VENV)/run.stamp ## open a throwaway door on loopback, port 9903 (ARGS="--port 9904")
	@exec $(BIN)/panicdoor demo $(ARGS)

test: $(VENV)/dev.stamp ## install what the tests want, then run all of them (ARGS go to pytest)
	@sh tests/packages.sh test
	@$(BIN)/python -c 'from tests.running import need_user; need_user()'
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev.stamp ## the quick part: format, lint, types, the shape of source and pages
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_architecture_page.py \
		tests/test_docs.py

format: $(VENV)/dev.stamp ## write the source as `check` wants it
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: $(VENV)/dev.stamp ## write docs/ from the commands, and the tables of ARCHITECTURE.md
	$(BIN)/panicdoor docs docs
	$(BIN)/python -m tests.test_architecture_page

bench: $(VENV)/dev.stamp ## measure against peers, write bench/results (ARGS=PART for a part)
	@sh tests/packages.sh bench
	$(BIN)/python -m bench $(ARGS)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(RECENT)'; then \
		echo 'panicdoor needs Python 3.11 or later; name it: make PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi
	@rm -rf $(VENV)
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/packages.sh venv
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'no environment was made; Debian has what is missing in python3-venv' >&2; exit 1; }

$(VENV)/run.stamp: $(BIN)/python requirements/run.txt requirements/build.txt pyproject.toml
	@echo 'installing panicdoor into $(VENV)'
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo 'installing what the tests need into $(VENV)'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# The two commands a newcomer needs are `make demo` and `make test`.
# Each target makes .venv and installs what it needs on first use.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS := -qq --disable-pip-version-check

.PHONY: help demo test docs coverage soak lint format bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulated Pilatus 1M frames become curves; ends with a picture"
	@echo "make test    run the tests"
	@echo "make docs    build the documentation site: build/docs/index.html"
	@echo "make coverage  which lines of the reduction, schemas and documents their own tests reach: two minutes"
	@echo "make soak    thousands of files while processes are killed: some minutes"
	@echo "make lint    style, spelling, types, layers"
	@echo "make bench   print speed and memory figures"

# One stamp per set of extras: an install is repeated only when pyproject.toml changed.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	@echo "Installing saxs-bluesky with its '$*' requirements into $(VENV): about a minute or two, once."
	@start=$$(date +%s) && $(BIN)/python -m pip install $(PIP_FLAGS) "pip>=24" && \
	$(BIN)/python -m pip install $(PIP_FLAGS) -e ".[$*]" && \
	echo "Installed in $$(( $$(date +%s) - start )) s."
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing saxs-bluesky into $(VENV): about a minute, once."
	@start=$$(date +%s) && $(BIN)/python -m pip install $(PIP_FLAGS) "pip>=24" && \
	$(BIN)/python -m pip install $(PIP_FLAGS) -e . && \
	echo "Installed in $$(( $$(date +%s) - start )) s."
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/saxs-bluesky demo demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 4 --dist worksteal

# -E: everything is read anew, since the reference is made from the source, whose changes Sphinx does not see.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -b html -E -n -W --keep-going -q -j auto docs build/docs
	@echo "The site is build/docs/index.html"

# Only tests that run in this process: tracing slows the others down, whose time limits then mean nothing.
coverage: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov --cov-report=term tests/reduction tests/schemas tests/documents

soak: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m soak -n 0 -v

# What users and readers see: pages, docstrings, help texts, messages. Tests misspell on purpose.
PROSE := *.md .github docs saxs_bluesky callbacks devices schemas profile_collection

# A checker does not follow the folder mapping of an editable install, so types and layers are
# checked on an installed wheel.
lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $(PROSE)
	rm -rf build
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --target build/wheel .
	cd build/wheel && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml -p saxs_bluesky
	cd build/wheel && PYTHONPATH=.:../../tools ../../$(BIN)/lint-imports ../../pyproject.toml

format: $(VENV)/.installed-lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist demo *.egg-info

# One command a purpose; `make help` lists them. Needs Python 3.11 or newer, nothing else: the rest goes into .venv.

PYTHON ?= python3
SCENARIO ?= public-cloud
OUT ?= results/$(SCENARIO)
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-all bench lint browser clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run-ready ## simulate the public cloud and write its report (SCENARIO=name OUT=folder for another)
	@$(BIN)/kubedes run $(SCENARIO) --out $(OUT) --force
	@echo "Report: $(OUT)/report.html"

test: lint browser ## lint, types, import contracts, and every test that takes seconds
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not bench"

test-all: lint browser ## the same with the slow tests
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not bench"

bench: $(VENV)/test-ready ## speed and memory, one after the other, figures printed
	@$(BIN)/python -m pytest -m bench -s

lint: $(VENV)/test-ready ## style, types and import contracts
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

clean: ## remove .venv, caches and built files; results stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find sim workloads experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made once; it is installed into again only when its list of packages has changed.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "kubedes needs Python 3.11 or newer, and there is no '$(PYTHON)' here; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "kubedes needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/run-ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing kubedes and its dependencies into $(VENV) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/test-ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing kubedes, its dependencies and the test tools into $(VENV) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/run-ready

# The report is opened in a real browser by one test, which is skipped where there is none.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		[ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null && \
		echo "Installing Chromium for the report's test ..." && \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends chromium) \
		>/dev/null 2>&1 </dev/null; } || echo "No Chromium: the test that opens the report in a browser will be skipped."

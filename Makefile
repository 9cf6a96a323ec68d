# Everything a developer runs. Needs Python 3.11 or later, git and make; the rest is set up in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := .venv-lock
PYTEST ?= $(BIN)/pytest
ROOMS  := model routing broker adapters pods fox
OTHERS := tests benchmarks examples
GATES  := model:95 routing:95 broker:85 adapters:85 pods:85 fox:85
COMPONENTS := $(wildcard examples/*/components/* examples/*/versions/*/components/* \
	benchmarks/*/app/components/*)

.DEFAULT_GOAL := help
.PHONY: help setup demo test fmt lint types arch cov bench bench-full bench-peers bench-routing bench-streams docker-lint lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with the pinned packages and the fox command

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=…")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Run the Order App story, then stay up (DEMO_ONCE=1 ends instead)
	$(BIN)/python -m examples.demo

test: setup ## Run the tests
	$(PYTEST)

fmt: setup ## Format the code and sort its imports
	$(BIN)/ruff check --select I --fix --quiet .
	$(BIN)/ruff format .

lint: setup docker-lint ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check types, strictly
	$(BIN)/mypy $(ROOMS) $(OTHERS)
	@# Components are programs of their own, each with a main.py: one by one, in their folders. What
	@# a later version of one lacks, it has from the first.
	@set -e; for component in $(COMPONENTS); do \
		(cd $$component && MYPYPATH=$(CURDIR):$(CURDIR)/$$(echo $$component | sed 's,versions/[^/]*/,,') \
			$(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml \
			--cache-dir $(CURDIR)/.mypy_cache/components --no-error-summary .); \
	done

arch: setup ## Check that imports go down the floors only
	$(BIN)/lint-imports

cov: setup ## Run the tests with coverage; each room has its gate
	$(PYTEST) --cov --cov-report=
	@failed=0; for gate in $(GATES); do \
		room=$${gate%:*} least=$${gate#*:}; printf '\n%s: at least %s %%\n' $$room $$least; \
		$(BIN)/coverage report --include="$$room/*" --fail-under=$$least || failed=1; \
	done; exit $$failed

bench: setup ## Measure whole requests into docs/performance.md, in 3 minutes on a quiet machine
	$(BIN)/python -m benchmarks.e2e

bench-full: setup ## The same, longer and with more loads, in a quarter of an hour
	$(BIN)/python -m benchmarks.e2e --full

bench-peers: setup ## Install the peers that the benchmarks leave out otherwise
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt

bench-routing: setup ## Measure routing into docs/performance.md, in 10 minutes on a quiet machine
	$(BIN)/python -m benchmarks.routing

bench-streams: setup ## Measure streams into docs/performance.md, in a minute on a quiet machine
	$(BIN)/python -m benchmarks.streams

docker-lint: setup ## Check the Dockerfile
	$(BIN)/hadolint Dockerfile

lock: ## Pin the newest versions that pyproject.toml allows
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/pip install --quiet --disable-pip-version-check .
	$(LOCK)/bin/pip freeze --exclude kubefox >requirements.txt
	$(LOCK)/bin/pip install --quiet --disable-pip-version-check '.[dev]'
	{ echo '-r requirements.txt'; $(LOCK)/bin/pip freeze --exclude kubefox \
		| grep -vxFf requirements.txt; } >requirements-dev.txt
	$(LOCK)/bin/pip install --quiet --disable-pip-version-check '.[bench]'
	$(LOCK)/bin/pip freeze --exclude kubefox | grep -vxFf requirements.txt \
		| grep -vxFf requirements-dev.txt >requirements-bench.txt
	rm -rf $(LOCK)
	$(MAKE) setup

clean: ## Remove .venv and whatever the tools left
	rm -rf $(VENV) $(LOCK) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

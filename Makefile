# Everything a developer runs. Needs Python 3.11 or later, git and make; the rest is set up in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TOOLS  := .venv-supply-chain
TOOLS_STAMP := $(TOOLS)/.installed
# Without an index, so that no address gets into the files; one version for all supported Pythons.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock'
PIP_INSTALL := pip install --quiet --disable-pip-version-check
PYTEST ?= $(BIN)/pytest
# Files of tests run beside one another with JOBS=2 or more.
JOBS   ?= 1
SPREAD := $(if $(filter-out 1,$(JOBS)),--numprocesses=$(JOBS) --dist=loadfile)
ROOMS  := kubefox routing broker control adapters pods fox
OTHERS := tests benchmarks examples docs
GATES  := kubefox:95 routing:95 broker:85 control:85 adapters:85 pods:85 fox:85
# The lab of Kubernetes, on which these are tested, is not on every machine.
UNTESTED := $(if $(KUBEFOX_TEST_KUBERNETES),none,pods/kubernetes/*,fox/custom_resources/*)
COMPONENTS := $(wildcard examples/*/components/* examples/*/versions/*/components/* \
	benchmarks/*/app/components/*)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-faults lab test-kubernetes fuzz fmt crds lint types arch cov docs bench bench-full bench-peers bench-routing bench-streams bench-overload bench-scale bench-kubernetes docker-lint lock sbom audit clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with the pinned packages and the fox command

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=…")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	$(BIN)/$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(TOOLS_STAMP): requirements-supply-chain.txt
	test -x $(TOOLS)/bin/pip || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/$(PIP_INSTALL) --require-hashes -r requirements-supply-chain.txt
	@touch $@

demo: setup ## Run the Order App story, then stay up (DEMO_ONCE=1 ends instead)
	$(BIN)/python -m examples.demo

test: setup ## Run the tests; JOBS=2 runs two files of them at a time
	$(PYTEST) $(SPREAD)

test-fast: setup ## Run the tests that start no platform and few processes, in less than a minute
	$(PYTEST) -m 'not slow'

test-faults: setup ## Run the tests of promises: a load with a fault in its middle, every answer counted
	$(PYTEST) -m faults

lab: setup ## Build the programs of the Kubernetes lab with Go: minutes, once
	$(BIN)/python -m tests.kubernetes.binary

test-kubernetes: setup ## Run the tests of Kubernetes, on the cluster of KUBECONFIG or on the lab
	@# No other target uses the cluster of KUBECONFIG, which may be one that others work with.
	test -n "$(KUBECONFIG)" || $(MAKE) lab
	KUBEFOX_TEST_KUBECONFIG="$(KUBECONFIG)" $(PYTEST) -m kubernetes

fuzz: setup ## Send new requests to every operation of the control API (FUZZ_SEED=… repeats a run)
	FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-100} \
		$(PYTEST) tests/control/api/test_fuzz.py

fmt: setup ## Format the code and sort its imports
	$(BIN)/ruff check --select I --fix --quiet .
	$(BIN)/ruff format .

crds: setup ## Write the custom resource definitions of the chart
	$(BIN)/python -m docs.generator.custom_resources

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
	@# Pods do not see the home folder, and some have a user of their own: the data of all processes
	@# goes to a folder that each of them can write to.
	@set -e; folder=$$(mktemp -d /tmp/kubefox-coverage-XXXXXX); trap 'rm -rf "$$folder"' EXIT; \
	chmod 1777 "$$folder"; export COVERAGE_FILE="$$folder/data"; \
	$(PYTEST) $(SPREAD) --cov --cov-report=; \
	failed=0; for gate in $(GATES); do \
		room=$${gate%:*} least=$${gate#*:}; printf '\n%s: at least %s %%\n' $$room $$least; \
		$(BIN)/coverage report --include="$$room/*" --omit='$(UNTESTED)' --fail-under=$$least || failed=1; \
	done; exit $$failed

docs: setup ## Build the documentation into build/docs; warnings and broken links are errors
	@# Generated pages depend on the code, so every page is read again; pages that are gone leave the site.
	rm -rf build/docs
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs
	@echo 'open build/docs/index.html'

bench: setup ## Measure whole requests into docs/performance.md, in 3 minutes on a quiet machine
	$(BIN)/python -m benchmarks.e2e

bench-full: setup ## The same, longer and with more loads, in a quarter of an hour
	$(BIN)/python -m benchmarks.e2e --full

bench-peers: setup ## Install the peers that the benchmarks leave out otherwise
	$(BIN)/$(PIP_INSTALL) --require-hashes -r requirements-bench.txt

bench-routing: setup ## Measure routing into docs/performance.md, in 10 minutes on a quiet machine
	$(BIN)/python -m benchmarks.routing

bench-streams: setup ## Measure streams into docs/performance.md, in a minute on a quiet machine
	$(BIN)/python -m benchmarks.streams

bench-overload: setup ## Measure overload, floods and faults into docs/performance.md, in 7 minutes on a quiet machine
	$(BIN)/python -m benchmarks.overload

bench-scale: setup ## Measure 100, 10,000 and 100,000 deployments side by side, in 20 minutes
	$(BIN)/python -m benchmarks.scale

bench-kubernetes: setup ## Measure 500 component versions on a Kubernetes control plane, in 5 minutes
	$(BIN)/python -m benchmarks.kubernetes

docker-lint: setup ## Check the Dockerfile
	$(BIN)/hadolint Dockerfile

# Hashes of every file of each package: any supported Python and machine can install them. Pins that
# still fit stay as they are. The later files take the pins of the earlier ones.
lock: $(TOOLS_STAMP) ## Pin the packages of pyproject.toml with their hashes; UPGRADE=--upgrade takes the newest
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml --extra bench --constraint requirements-dev.txt --output-file requirements-bench.txt
	$(COMPILE) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	$(COMPILE) --group supply-chain --constraint requirements-dev.txt --output-file requirements-supply-chain.txt

sbom: $(TOOLS_STAMP) ## Write the list of the packages that the platform runs on (CycloneDX) to build/sbom.cdx.json
	@mkdir -p build
	@# It warns that a list of pins has no graph of dependencies.
	PYTHONWARNINGS=ignore $(TOOLS)/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file build/sbom.cdx.json

audit: $(TOOLS_STAMP) ## Look for known vulnerabilities of the pinned packages
	@set -e; for file in requirements.txt requirements-dev.txt requirements-build.txt; do \
		$(TOOLS)/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$file; \
	done

clean: ## Remove .venv and whatever the tools left
	rm -rf $(VENV) $(TOOLS) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

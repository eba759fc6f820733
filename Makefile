# Each command needs Python >= 3.10 with venv and access to a package index, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test test-every-config lint check bench picture dist clean
.DEFAULT_GOAL := help

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# make demo DEMO=--offline generates a model instead of fetching one
demo: $(VENV)/demo.ready  ## Convert SmolLM2-135M to Forgather and back, and compare every byte
	@$(BIN)/python scripts/demo.py $(DEMO)

test: $(VENV)/tox.ready  ## Run every check: lint, types, tests on transformers 4 and 5, built packages
	$(BIN)/tox run-parallel --parallel-no-spinner

test-every-config: $(VENV)/tox.ready  ## Run every test of every family for all its configs
	$(BIN)/tox run-parallel --parallel-no-spinner -e transformers5,transformers4 -- --every-config plugins examples

lint: $(VENV)/tox.ready  ## Check format and lint (seconds)
	$(BIN)/tox run -q -e lint

FAMILY ?= llama
check: $(VENV)/tox.ready  ## Check one family: make check FAMILY=llama (a minute, once installed)
	$(BIN)/tox exec -q -e transformers5 -- python scripts/check_family.py $(FAMILY)

# make bench BENCH="--sizes 1B"
bench: $(VENV)/demo.ready  ## Measure conversions and models of real sizes
	@$(BIN)/python benchmarks/bench.py $(BENCH)

picture: $(VENV)/demo.ready  ## Draw the README's picture of the terminal again
	$(PIP) install "pyte>=0.8"
	@$(BIN)/python scripts/terminal_picture.py

dist: $(VENV)/dist.ready  ## Build all distributions into dist/, and check them
	@$(BIN)/python scripts/build_distributions.py

clean:  ## Remove environments and everything that was built
	rm -rf $(VENV) .tox build dist

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or later is needed"'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/tox.ready: $(VENV)/ready
	$(PIP) install "tox>=4.22"
	@touch $@

$(VENV)/dist.ready: $(VENV)/ready
	$(PIP) install "build>=1.2" "hatchling>=1.26" "twine>=6"
	@touch $@

$(VENV)/demo.ready: $(VENV)/ready constraints.txt distributions.txt core/pyproject.toml
	@echo "Installing torch, transformers and this repository into $(VENV) (once; some minutes)"
	$(BIN)/python scripts/install.py --quiet --constraint constraints.txt --requirement distributions.txt "transformers>=5,<6" accelerate gguf
	@touch $@

# The commands of the README. Each needs Python >= 3.10 with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: bench demo test clean

# Options for the demonstration: make demo DEMO=--offline
DEMO ?=

test: $(VENV)/tox.ready
	$(BIN)/tox run

demo: $(VENV)/demo.ready
	@$(BIN)/python scripts/demo.py $(DEMO)

# Options for the benchmarks: make bench BENCH="--sizes 1B"
BENCH ?=

bench: $(VENV)/demo.ready
	@$(BIN)/python benchmarks/bench.py $(BENCH)

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or later is needed"'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/tox.ready: $(VENV)/ready
	$(PIP) install "tox>=4.22"
	@touch $@

$(VENV)/demo.ready: $(VENV)/ready constraints.txt distributions.txt core/pyproject.toml
	@echo "Installing torch, transformers and this repository into $(VENV) (once; some minutes)"
	$(PIP) install --constraint constraints.txt --requirement distributions.txt "transformers>=5,<6" accelerate gguf
	@touch $@

clean:
	rm -rf $(VENV) .tox build dist

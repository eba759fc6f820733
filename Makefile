# The two commands of the README. Each needs Python >= 3.10 with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clean

test: $(VENV)/tox
	$(BIN)/tox run

demo: $(VENV)/demo
	$(BIN)/python scripts/demo.py

$(VENV)/ready:
	$(PYTHON) -c "import sys; sys.exit('Python 3.10 or later is needed') if sys.version_info < (3, 10) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/tox: $(VENV)/ready
	$(BIN)/python -m pip install --quiet "tox>=4.22"
	touch $@

$(VENV)/demo: $(VENV)/ready constraints.txt core/pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt -e "core" -e plugins/llama -e plugins/mistral -e plugins/qwen3 "transformers>=5,<6" gguf accelerate
	touch $@

clean:
	rm -rf $(VENV) .tox build dist

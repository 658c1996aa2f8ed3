# make demo   environment, install, the main job on real patients
# make test   environment, install, every check and test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# versions that were tested together, for the Python they were tested with; CONSTRAINTS= takes the newest ones instead
CONSTRAINTS ?= $(shell $(PYTHON) -c "import sys; print('.ci/constraints.txt' if sys.version_info[:2] == (3, 11) else '')")

# where PyTorch without CUDA lies; left out where it cannot be reached
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
REACHED = $(shell $(PYTHON) -c "from urllib.request import urlopen; urlopen('$(TORCH_INDEX)/torch/', timeout=5); print('--extra-index-url $(TORCH_INDEX)')" 2>/dev/null)

.PHONY: setup demo test lab docs export clean-notebooks run-notebooks readme check types drift

setup: $(READY)

$(READY): settings.ini setup.py pyproject.toml $(wildcard .ci/constraints.txt)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version). Pass PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(REACHED) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[ray,real,hospital,torch,boost,mlflow,docs,voila,dev]"
	@touch $@

demo: setup
	$(BIN)/genomed demo

# two workers with a thread each: the tests of a file stay together (tests/conftest.py says how)
test: setup drift check types
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

lab: setup
	$(BIN)/genomed lab

# the site: docs/_build/html/index.html; a warning is an error (the tests build it too, elsewhere)
docs: setup
	$(BIN)/python docs/build.py

# notebooks -> genomed_workbench/*.py
export: setup
	$(BIN)/nbdev-export

# strip execution counts and editor metadata; outputs stay
clean-notebooks: setup
	$(BIN)/nbdev-clean

# run every notebook and store its outputs
run-notebooks: setup
	$(BIN)/python .ci/run_notebooks.py

readme: setup
	$(BIN)/python .ci/render_readme.py

# exported code, clean notebooks and README must be what the notebooks say
drift: setup
	@$(BIN)/python .ci/drift.py

check: setup
	$(BIN)/ruff check genomed_workbench tests docs setup.py .ci
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

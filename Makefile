# make demo       a small environment (half a minute with a warm package cache), then the main job on real patients
# make test       the full environment, then the checks and tests that one waits for
# make test-all   every check and test: what CI runs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_READY := $(VENV)/.ready-demo
READY := $(VENV)/.ready
DEMO_EXTRAS := real
ALL_EXTRAS := ray,real,hospital,torch,boost,mlflow,docs,voila,dev
# versions that were tested together, for the Python they were tested with; CONSTRAINTS= takes the newest ones instead
CONSTRAINTS ?= $(shell $(PYTHON) -c "import sys; print('.ci/constraints.txt' if sys.version_info[:2] == (3, 11) else '')")

# where PyTorch without CUDA lies; left out where it cannot be reached
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
REACHED = $(shell $(PYTHON) -c "from urllib.request import urlopen; urlopen('$(TORCH_INDEX)/torch/', timeout=5); print('--extra-index-url $(TORCH_INDEX)')" 2>/dev/null)

# uv where it is on the machine, pip otherwise; neither compiles what it installs, which Python does when it is first used
UV ?= $(shell command -v uv 2>/dev/null)
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check) $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
MADE_FROM := settings.ini setup.py pyproject.toml $(wildcard .ci/constraints.txt)

.PHONY: demo setup test test-all quick-tests all-tests lab docs export clean-notebooks run-notebooks readme check types drift

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version). Pass PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# the full environment has all that the demo needs
$(DEMO_READY): $(MADE_FROM) | $(BIN)/python
	test -e $(READY) || $(INSTALL) -e ".[$(DEMO_EXTRAS)]"
	@touch $@

setup: $(READY)

$(READY): $(MADE_FROM) | $(BIN)/python
	$(INSTALL) $(REACHED) -e ".[$(ALL_EXTRAS)]"
	@touch $@ $(DEMO_READY)

demo: $(DEMO_READY)
	$(BIN)/genomed demo

# two workers with a thread each; tests/conftest.py says which tests stay together
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

# the checks run beside the tests
test: setup drift
	$(MAKE) --no-print-directory -j 3 check types quick-tests

test-all: setup drift
	$(MAKE) --no-print-directory -j 3 check types all-tests

quick-tests: setup
	$(PYTEST) -m "not full and not ray"

all-tests: setup
	$(PYTEST) --durations=30

lab: $(DEMO_READY)
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
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

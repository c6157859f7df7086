# SPDX-License-Identifier: GPL-3.0-or-later
# Every target sets up what it needs: Debian packages that are missing, .venv, this project in it. Quick when all is there.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SERVER := var/assent

.PHONY: help setup demo test serve fault bench bench-peer lint format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install everything that the other targets need

# Remade when the dependencies or what is compiled change. A virtual environment that is half made, or of another Python, is
# made again.
$(READY): pyproject.toml .ci/debian hatch_build.py ivr/sip/mediaclock.c
	@.ci/debian "$(or $(PYTHON),python3)"
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
		|| "$(or $(PYTHON),python3)" -m venv --clear $(VENV)
	@echo "setup: Python packages, in $(VENV); the first time takes a minute or more" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## four real calls on a real server, then the proof
	@$(BIN)/python -m demo.run

# Files run beside each other, four at a time: most of a telephone call is waiting. ARGS="-n 0 -k name" for one test.
test: $(READY) ## all tests
	@$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

serve: $(READY) ## a server with the shipped configuration, in var/assent
	@test -e $(SERVER)/server.yaml || { mkdir -p $(dir $(SERVER)) && $(BIN)/ivr init $(SERVER); }
	@$(BIN)/ivr serve --config $(SERVER)

fault: $(READY) ## every fault and power cut at every system call: half an hour
	@PYTHONPATH=tests $(BIN)/python -m fault.sweep
	@PYTHONPATH=tests $(BIN)/python -m fault.powerloss

bench: $(READY) ## measure, and print a table
	@$(BIN)/python -m bench

bench-peer: $(READY) ## the same calls on ours and on Asterisk; ARGS="--asterisk PATH"
	@$(BIN)/python -m bench.peer $(ARGS)

lint: $(READY) ## ruff, mypy, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p ivr -p media -p demo
	@$(BIN)/lint-imports

format: $(READY) ## let ruff put things in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove what was made, but not var/: it holds keys and a log
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

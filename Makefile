# One command each; every target sets up what it needs in .venv the first time.
#
# Python is Debian's /usr/bin/python3 where that is 3.11 or newer (built with profile-guided optimisation, worth
# as much as any trick in the code), else python3 from PATH; `make PYTHON=/path/to/python3 ...` names another.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config/quickstart.yaml
ENGINE ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= forwarder:$(VERSION)
IS_RECENT := import sys; sys.exit(sys.version_info < (3, 11))

ifndef PYTHON
PYTHON := $(shell for candidate in /usr/bin/python3 python3; do \
    if "$$candidate" -c '$(IS_RECENT)' 2>/dev/null; then echo "$$candidate"; break; fi; done)
endif

# Nobody is there to answer, and pip's advice about itself is not ours to give.
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help run test scenarios check format bench image clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: $(VENV)/.for-run ## serve config/quickstart.yaml (CONFIG=file.yaml serves another)
	@exec $(BIN)/forwarder run --config $(CONFIG)

# Tests that take long and measure nothing run three files at a time; whatever measures has the machine to itself. Both halves
# run, whatever becomes of the first, unless it was interrupted (status 2).
test: $(VENV)/.for-test ## run all tests (TESTS=tests/test_link.py runs some, one after the other)
ifdef TESTS
	@exec $(BIN)/python -m pytest $(TESTS)
else
	@failed=0; \
	$(BIN)/python -m pytest -n 3 --dist loadfile -m side_by_side || failed=$$?; \
	[ $$failed -ne 2 ] || exit 2; \
	$(BIN)/python -m pytest -m 'not side_by_side' || failed=$$?; \
	exit $$failed
endif

scenarios: $(VENV)/.for-test ## run the end-to-end tests and the scenario files: real daemon, real clients, real peers
	@exec $(BIN)/python -m pytest tests/scenarios tests/rpl

check: $(VENV)/.for-check ## ruff, mypy and the house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house_rules.py tests/test_house_rules_catch.py

format: $(VENV)/.for-check ## let ruff lay out the code and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.for-run ## measure against unbound, dnsmasq and the limit; writes benchmarks/RESULTS.md
	@exec $(BIN)/python -m benchmarks

image: ## build the container image (IMAGE=registry.example/forwarder:0.1.0 names it, ENGINE=podman builds it)
	$(ENGINE) build --tag $(IMAGE) --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

clean: ## remove .venv and everything else the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "forwarder needs Python 3.11 or newer, and there is none on this machine." \
	    "On Debian: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c '$(IS_RECENT)' || { echo "forwarder needs Python 3.11 or newer, and PYTHON=$(PYTHON) is not." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
	    "On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# One stamp for each set of packages: made again when pyproject.toml changes.
$(VENV)/.for-run: EXTRAS :=
$(VENV)/.for-test: EXTRAS := [test]
$(VENV)/.for-check: EXTRAS := [test,check]
$(VENV)/.for-run $(VENV)/.for-test $(VENV)/.for-check: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.$(EXTRAS)'
	@touch $@

# Needs make and Python 3.11 or newer; everything else goes into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.stamp
SOURCES := src/pagefault integrations/langgraph/pagefault_langgraph integrations/llamaindex/pagefault_llamaindex
PROGRAMS := $(foreach each,examples benchmarks,$(if $(shell find $(each) -name '*.py' -print -quit 2>/dev/null),$(each)))
CORE_TESTS := tests/core tests/recall tests/scheduling tests/tokens
OUTER_TESTS := tests/langgraph tests/llamaindex tests/embedders tests/stores tests/kernel tests/scheduler tests/recall tests/tokens tests/commands tests/examples
SEED ?= $(shell od -An -N3 -tu4 /dev/urandom | tr -d ' ')
SEED := $(SEED)
PYTEST := pytest -p no:cacheprovider --randomly-seed=$(SEED) --hypothesis-seed=$(SEED)
IS_NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help setup demo test test-long test-properties test-deepagents test-newest test-oldest cover check format-check lint types mypy pyright imports house format bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: $(STAMP) ## Create .venv with pinned versions (every other target does this by itself)

demo: $(STAMP) ## Watch an agent page through a small window (no key, no network)
	@$(BIN)/python -m examples.demo $(ARGS)

test: cover ## Default test suite; repeat a run with SEED=...
	$(BIN)/python -m $(PYTEST) -n 2 --dist worksteal $(addprefix --ignore=,$(CORE_TESTS)) $(ARGS)

cover: $(STAMP) ## Tests of the pure core; every branch of it must run
	@echo "seed: $(SEED)   (repeat with: make test SEED=$(SEED))"
	$(BIN)/coverage run -m $(PYTEST) $(CORE_TESTS)
	@$(BIN)/coverage report

test-long: $(STAMP) ## Tests that take minutes
	@echo "seed: $(SEED)   (repeat with: make test-long SEED=$(SEED))"
	$(BIN)/python -m $(PYTEST) -m long $(ARGS)

test-properties: $(STAMP) ## Every property with 20 times the examples
	@echo "seed: $(SEED)   (repeat with: make test-properties SEED=$(SEED))"
	EXAMPLES=20 $(BIN)/python -m $(PYTEST) --timeout=3600 -m 'hypothesis and not long' -n 2 --dist worksteal $(ARGS)

test-deepagents: ## Agents of deepagents, in an environment of their own (.venv-deepagents)
	@test -x .venv-deepagents/bin/pytest || { python3 -m venv .venv-deepagents && .venv-deepagents/bin/pip install -q \
	  -e '.[langgraph]' 'deepagents==0.7.32' pytest pytest-asyncio pytest-randomly pytest-socket pytest-timeout hypothesis; }
	.venv-deepagents/bin/python -m pytest -p no:cacheprovider -m long tests/langgraph/test_deepagents.py $(ARGS)

test-newest: ## What stands on other packages, with the newest ones that are allowed (.venv-newest)
	@test -x .venv-newest/bin/pytest || { python3 -m venv .venv-newest && .venv-newest/bin/pip install -q -e '.[all,dev]'; }
	.venv-newest/bin/python -m $(PYTEST) $(OUTER_TESTS) $(ARGS)

test-oldest: ## The same with the oldest ones, as uv resolves them (.venv-oldest)
	@test -x .venv-oldest/bin/pytest || { python3 -m venv .venv-oldest && .venv-oldest/bin/pip install -q uv && \
	  .venv-oldest/bin/uv pip install -q --python .venv-oldest/bin/python --resolution lowest-direct -e '.[all,dev]'; }
	.venv-oldest/bin/python -m $(PYTEST) $(OUTER_TESTS) $(ARGS)

check: lint types imports house ## Style, types, boundaries and conventions

lint: $(STAMP) # ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: mypy pyright

mypy: $(STAMP)
	$(BIN)/mypy $(SOURCES) $(PROGRAMS) tests

pyright: $(STAMP)
	$(BIN)/pyright
	$(BIN)/pyright -p pyright-tests.json

imports: $(STAMP) # import-linter
	$(BIN)/lint-imports

house: $(STAMP) # conventions kept by tests
	$(BIN)/python -m $(PYTEST) -q tests/house

format: $(STAMP) ## Rewrite files in the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure model calls, write-back, memories, stores, recall and room, beside peers (takes long)
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove .venv and everything generated
	rm -rf .venv .venv-deepagents .venv-newest .venv-oldest dist build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@python=$(PYTHON); \
	if [ -z "$$python" ]; then \
	  for each in python3.11 python3 python3.12 python3.13 python; do \
	    if $$each -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then python=$$each; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! $$python -c '$(IS_NEW_ENOUGH)'; then \
	  echo "make: no Python 3.11 or newer with venv found (Debian: apt install python3 python3-venv);" \
	       "name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "setting up .venv with $$($$python --version) (once; about a minute)"; \
	[ -x $(BIN)/python ] || $$python -m venv .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

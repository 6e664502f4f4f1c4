# What people do with this repository. `make help` lists it. Needs Python 3.11 or newer, and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv pip

CODE := activities adapters api bench cli domain migrations models services stack tests workflows \
	settings.py worker.py
# Markers are explained in pyproject.toml.
FAST := not (stack or temporal or crash or slow)
SERIAL := (stack or temporal or slow) and not crash
CRASH := crash

# For one task: `make up ARGS="--port 9000"`, `make test-fast ARGS="-k calendar"`.
ARGS ?=

# A Python that is new enough: the one named by PYTHON, else the first that is found.
define FIND_PYTHON
	found=; \
	for candidate in "$$PYTHON" python3 python3.13 python3.12 python3.11 python3.14 python; do \
		test -n "$$candidate" || continue; \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$(command -v "$$candidate"); break; \
		fi; \
	done; \
	if test -z "$$found"; then \
		echo "Holdfast needs Python 3.11 or newer, and there is none on the PATH." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi
endef

# $(call GROUP,title,command): runs it and says how long it took.
define GROUP
	@printf '\n== %s\n' '$(1)'; began=$$(date +%s); { $(2); }; code=$$?; \
	printf '== %s: %s s\n' '$(1)' "$$(($$(date +%s) - began))"; exit $$code
endef

# $(call PYTEST,title,markers,options): a group of tests. An empty group (code 5) is no failure.
define PYTEST
	$(call GROUP,$(1),$(BIN)/python -m pytest -q $(3) -m '$(2)' $(ARGS); code=$$?; test $$code -eq 5 || (exit $$code))
endef

export PYTHON

# With an empty environment a shell still finds programs, but they do not find themselves.
PATH ?= /usr/local/bin:/usr/bin:/bin
export PATH
# What Python compiles is kept: tests and desks start it some hundred times.
unexport PYTHONDONTWRITEBYTECODE
# As pip does: trust whom the system trusts, such as a company's own certificate authority.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS

.PHONY: help
help: ## List the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-20s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: $(READY) ## Make the environment in .venv

$(READY): requirements.lock pyproject.toml
	@$(FIND_PYTHON); \
	if test -x $(BIN)/python && \
		! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "The environment in $(VENV) does not work any more; making it anew." >&2; \
		rm -rf $(VENV); \
	fi; \
	if test ! -x $(BIN)/python || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making an environment in $(VENV) with $$found" >&2; \
		"$$found" -m venv $(VENV) || { \
			rm -rf $(VENV); \
			echo "This Python cannot make environments; Debian keeps that in python3-venv." >&2; \
			exit 1; \
		}; \
	fi
	@uv=$$(sed -n 's/^uv==\([0-9][0-9.]*\).*/\1/p' requirements.lock); \
	if test "$$($(BIN)/uv --version 2>/dev/null | cut -d' ' -f2)" != "$$uv"; then \
		echo "Installing uv $$uv" >&2; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$uv"; \
	fi
	@echo "Installing what requirements.lock names" >&2
	@$(UV) sync --quiet --python $(BIN)/python --require-hashes requirements.lock || { \
		echo "uv could not; trying pip, which may be set up for your network. Slower." >&2; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
			--requirement requirements.lock; \
	}
	@$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: up
up: $(READY) ## Start everything, with a demo desk, and show where it is
	@exec $(BIN)/holdfast up $(ARGS)

.PHONY: down
down: $(READY) ## Stop it, wherever it was started
	@exec $(BIN)/holdfast down $(ARGS)

.PHONY: check
check: $(READY) ## Lint, format, types, who imports whom
	$(call GROUP,lint,$(BIN)/ruff check $(CODE))
	$(call GROUP,format,$(BIN)/ruff format --check $(CODE))
	$(call GROUP,types,$(BIN)/mypy $(CODE))
	$(call GROUP,imports,$(BIN)/lint-imports)

.PHONY: test-fast
test-fast: $(READY) ## Tests that need no server but Postgres; under a minute
	$(call PYTEST,fast tests,$(FAST),-n 2)

.PHONY: test
test: check test-fast ## Everything: check, fast tests, the real servers, kills
	$(call PYTEST,tests on the real servers,$(SERIAL),)
	$(call PYTEST,crash tests,$(CRASH),)
	@echo; echo "Everything holds."

.PHONY: migrate
migrate: $(READY) ## Bring a running desk's database to the newest schema
	@exec $(BIN)/holdfast migrate $(ARGS)

.PHONY: record
record: $(READY) ## Record workflow histories that every later version must replay
	@HOLDFAST_RECORD=1 $(BIN)/python -m pytest -q tests/workflows/test_replay.py -k lived_now $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure, and compare with the budgets of docs/performance.md
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: bench-triage
bench-triage: $(READY) ## Measure triage on public sets, where they are; minutes
	@exec $(BIN)/python -m bench.triage $(ARGS)

.PHONY: lock
lock: $(READY) ## Work out requirements.lock anew from pyproject.toml
	@$(UV) compile --quiet --python $(BIN)/python --universal --generate-hashes --extra embedded --extra dev \
		--no-header --no-emit-index-url --no-annotate $(ARGS) -o requirements.lock pyproject.toml

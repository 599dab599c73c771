# Everything a contributor needs; `make` alone lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --durations 15

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "case-server needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }

# Each of the test processes would compile all modules for itself.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test test-all bench stress lint format screenshots reference docs lock audit sbom clean

help: ## List the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

serve: $(VENV)/serving ## Start the server (ARGS="--port 9000" passes flags)
	@exec $(BIN)/case-server serve $(ARGS)

test: $(VENV)/installed ## Run the tests (ARGS="-k filter" passes flags)
	@$(PYTEST) $(ARGS)

test-all: $(VENV)/installed ## Run the slow tests, too: all real frameworks, Pythons and examples
	@$(PYTEST) -m "" --hypothesis-profile thorough --timeout 1800 $(ARGS)

bench: $(VENV)/installed ## Measure the speed (ARGS="--quick" passes flags, AGAINST=url adds a server)
	@$(BIN)/python -m benchmarks $(ARGS) $(if $(AGAINST),--against $(AGAINST))

stress: $(VENV)/installed ## Run the stress tests for ten minutes (ARGS="--seed 1 outage load" selects)
	@PYTHONPATH=tests $(BIN)/python -m stress $(ARGS)

# mypy and import-linter do not follow import hooks: typing/ shows them app/ under its installed name.
lint: $(VENV)/installed ## Check style, imports and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@rm -rf $(VENV)/typing && mkdir -p $(VENV)/typing/case_server
	@ln -s $(CURDIR)/app/* $(CURDIR)/migrations $(VENV)/typing/case_server/
	@PYTHONPATH=$(VENV)/typing $(BIN)/lint-imports --no-logo --no-cache > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/mypy $(VENV)/typing/case_server tests benchmarks stress

format: $(VENV)/installed ## Format the code and fix what ruff can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

screenshots: $(VENV)/installed ## Retake the screenshots of the docs (needs Chromium)
	@PYTHONPATH=tests $(BIN)/python tests/web/screenshots.py

reference: $(VENV)/installed ## Regenerate the tables of the documentation from the code
	@$(BIN)/cog -U -P -r -I tests $$(grep -rl '\[\[\[cog' README.md docs)

docs: $(VENV)/docs ## Build the documentation site into build/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --quiet

$(VENV)/docs: requirements-docs.lock
	@$(PYTHON) -m venv $@
	@$@/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

lock: $(VENV)/installed ## Pin the newest releases of all dependencies
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --extra embedded \
		-c requirements.lock pyproject.toml -o requirements-embedded.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --extra embedded --group dev \
		-c requirements-embedded.lock pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --group pyproject.toml:docs \
		-o requirements-docs.lock

# The advisory that is passed over has no fix, and no code that it is about is loaded: SECURITY.md.
audit: $(VENV)/installed ## Ask whether an advisory names a dependency of the lock (needs the network)
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes \
		-r requirements.lock --ignore-vuln GHSA-wj6h-64fc-37mp

sbom: $(VENV)/installed ## List what the lock installs as a CycloneDX document, build/sbom.json
	@$(BIN)/pip install --quiet uv
	@mkdir -p build
	@$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock \
		--pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

clean: ## Remove what was installed here
	rm -rf $(VENV) *.egg-info build

# What serving needs: a quarter of the disk space of everything, and half of the time. pip is in a
# folder of its own, because with setuptools it would be a sixth of the environment and its creation
# a fourth of the CPU time, and the pip of Python 3.11 takes twice as long to install the lock. Where
# Python has no pip, ensurepip adds one to the environment.
PIP_DIR := $(VENV)/pip
TOOLS   := pip==26.3 $(shell sed -nE 's/^requires = \["(.*)"\]/\1/p' pyproject.toml)
OPTIONS := -qq --disable-pip-version-check --no-compile
$(VENV)/serving: pyproject.toml requirements-embedded.lock
	@$(CHECK_PYTHON)
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip install $(OPTIONS) --target $(PIP_DIR) $(TOOLS) 2> /dev/null || \
		{ $(BIN)/python -m ensurepip > /dev/null && $(BIN)/python -m pip install $(OPTIONS) $(TOOLS); }
	@PYTHONPATH=$(PIP_DIR) $(BIN)/python -m pip install $(OPTIONS) --require-hashes -r requirements-embedded.lock
	@PYTHONPATH=$(PIP_DIR) $(BIN)/python -m pip install $(OPTIONS) --no-deps --no-build-isolation -e .
	@rm -rf $(PIP_DIR)
	@touch $@

# pip is replaced first, because the pip of Python 3.11 takes 10 CPU seconds more to install the lock.
$(VENV)/installed: pyproject.toml requirements-dev.lock
	@$(CHECK_PYTHON)
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install $(OPTIONS) $(TOOLS)
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install $(OPTIONS) --no-deps --no-build-isolation -e .
	@touch $(VENV)/serving $@

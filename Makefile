# Every task of this project; `make` lists them. They run in .venv, which is made when needed.

# The first interpreter that is new enough; a name in the PATH may still not run.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# Most tests wait for sockets, so two workers pay even on one core.
WORKERS ?= $(shell cores=$$(nproc); [ $$cores -gt 2 ] && echo $$cores || echo 2)
CLIENTS := lftp tnftp ncftp curl

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench format docs install clients clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.server ## FTP server on an embedded store; options: ARGS="--port 2200 --data DIR"
	@$(BIN)/cos-ftp-server demo $(ARGS)

test: .venv/.server .venv/.test clients ## all tests; options for pytest: TESTARGS="-k upload"
	@$(BIN)/python -m pytest -n $(WORKERS) $(TESTARGS)

lint: .venv/.server .venv/.test .venv/.bench .venv/.lint ## style, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/.server .venv/.bench ## CPU and memory beside other gateways; options: ARGS="--quick --only store-4k"
	@$(BIN)/python -m bench $(ARGS)

format: .venv/.lint ## let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: .venv/.server ## make docs/settings.md from the declarations of the settings
	@$(BIN)/python -m cos_ftp_server.settings.reference > docs/settings.md

install: .venv/.server ## only make .venv with the server in it

clients: ## FTP clients for the tests, from the system's packages (as root)
	@missing=; for client in $(CLIENTS); do command -v $$client >/dev/null || missing="$$missing $$client"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends -y $$missing >/dev/null; \
	else echo "missing, their tests will fail:$$missing"; fi

clean: ## remove .venv, caches and build results
	rm -rf .venv build src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is one set of packages; it is installed again when pyproject.toml has changed.

.venv/.made:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.server: .venv/.made pyproject.toml
	@echo "installing the server in .venv"
	@$(PIP) install --editable .
	@touch $@

# The pip that comes with Python 3.11 is older than 25.1, the first to know dependency groups.
.venv/.pip: .venv/.made
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

.venv/.test .venv/.lint .venv/.bench: .venv/.%: .venv/.pip pyproject.toml
	@echo "installing what $* needs in .venv"
	@$(PIP) install --group $*
	@touch $@

# Debian and Ubuntu ship the means to make a .venv as a package of its own.
.PHONY: venv-package
venv-package:
	@package="$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $$package"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends -y "$$package" >/dev/null; \
	else echo "$$package is missing; as root: apt-get install $$package"; exit 1; fi

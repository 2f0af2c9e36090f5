# Every target sets up what it needs, once, and nothing outside this directory.
# Needed on the machine: Python 3.11 or newer and make. Another Python: make PYTHON=/path/to/python3

BIN := .venv/bin
SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if "$$candidate" -c '$(SUITABLE)' 2>/dev/null; then echo "$$candidate"; break; fi; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A locked set is whole, so there is nothing to resolve: pip's resolver would look past the pins of packages that are
# asked for with an extra, and stop, once a newer release of one appears.
INSTALL_LOCKED := install --quiet --progress-bar off --require-hashes --no-deps --requirement
# The checkout itself, for the command `keyledger`; all that it needs is in the locked set.
INSTALL_SELF := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

.PHONY: run test test-kills test-resets test-client bench bench-resets check

run: .venv/.installed
	@exec $(BIN)/keyledger up

# Each process begins with half of the tests, in their order: a module's own services are made in one of the two, and
# the tests that wait for processes stand beside those that work. Who is done takes over from the other.
test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/client

test-kills: .venv/.installed-dev
	$(BIN)/python -m pytest tests/faults/test_settlement_durability.py -rP --calls 20000

test-resets: .venv/.installed-dev
	$(BIN)/python -m pytest tests/faults/test_resets.py tests/faults/test_time_faults.py -rP --accounts 100000 --kills 50

test-client: .venv/.installed-dev .venv-client/.installed
	$(BIN)/python -m pytest tests/client

bench: .venv/.installed-dev
	$(BIN)/python -m tests.bench.bench_lists

bench-resets: .venv/.installed-dev
	$(BIN)/python -m tests.bench.bench_resets

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/contracts/test_migrations.py -k migrated_schema

.venv/.made:
	$(if $(strip $(PYTHON)),,$(error Python 3.11 or newer is needed and none was found; name one with: make PYTHON=/path/to/python3))
	@"$(PYTHON)" -c '$(SUITABLE)' || { echo "Python 3.11 or newer is needed: $(PYTHON) is older or missing." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) lacks the module venv: install it (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Making .venv with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv .venv
	@touch $@

.venv/.installed: .venv/.made requirements.txt pyproject.toml
	@echo "Installing the locked packages (about a minute)"
	@$(PIP) $(INSTALL_LOCKED) requirements.txt
	@$(INSTALL_SELF)
	@touch $@

# The development set holds the other one whole.
.venv/.installed-dev: .venv/.made requirements-dev.txt pyproject.toml
	@echo "Installing the locked packages for development (a minute or two)"
	@$(PIP) $(INSTALL_LOCKED) requirements-dev.txt
	@$(INSTALL_SELF)
	@touch .venv/.installed $@

# LiteLLM's own client, in an environment of its own: it drives this service unchanged. The locked set loosens one
# bound of it (certifi, for a release that came later).
.venv-client/.installed: requirements-client.txt .venv/.made
	@echo "Installing the reference's client (a minute or two)"
	@"$(PYTHON)" -m venv .venv-client
	@.venv-client/bin/python -m pip --disable-pip-version-check --no-input \
		$(INSTALL_LOCKED) requirements-client.txt
	@touch $@

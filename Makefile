# Every command a person needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PYTHON :=
BIN := $(VENV)/bin
PACKAGES := gen operator services/lib/catalog services/lib/routing services/lib/chassis services/edge services/auth services/router services/status services/simulator services/cli
ARGS ?=
PYTEST_ARGS ?=

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(VENV)/.ready ## Make .venv with everything, locked by hash

$(VENV)/.ready: requirements/dev.txt $(addsuffix /pyproject.toml,$(PACKAGES)) scripts/setup.sh
	@VENV=$(VENV) PYTHON=$(PYTHON) scripts/setup.sh $(PACKAGES)

run: setup ## Start a gateway on this machine (ARGS='--port 9000 ...' is passed on)
	@compiled=$$($(BIN)/python scripts/compiled.py --current .compiled); \
	PYTHONPATH="$$compiled$${compiled:+$${PYTHONPATH:+:}}$$PYTHONPATH" $(BIN)/penstock up $(ARGS)

compiled: setup ## Compile the modules on every request's way; `make run` uses them then (see docs/compiled.md)
	@$(BIN)/python scripts/compiled.py .compiled

test: setup ## Check everything and run all tests
	@scripts/test.sh $(PYTEST_ARGS)

test-cluster: setup ## Run tests/cluster on the cluster that KUBECONFIG names
	@scripts/test-cluster.sh $(PYTEST_ARGS)

coverage: setup ## Say which lines and branches the tests pass (apart from make test: measuring costs minutes)
	@scripts/coverage.sh

check: setup ## Lint, types, import rules, generated files
	@scripts/check.sh

format: setup ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

protos: setup ## Generate the gRPC stubs from protos/
	@scripts/generate-protos.sh gen

lock: setup ## Lock the dependencies anew
	@UV="$$(scripts/find-uv.sh)" scripts/lock.sh

mutants: setup ## Sabotage the code line by line and see that a test fails each time
	@scripts/test-dependencies.sh
	@$(BIN)/python tests/mutants/run.py $(ARGS)

bench: setup ## Measure the gateway beside others (see benchmarks/README.md)
	@benchmarks/run.sh $(ARGS)

bench-check: setup ## Fail when a request costs more beside nginx than was committed (three minutes, or seven; see benchmarks/README.md)
	@benchmarks/run.sh check $(ARGS)

bench-routing: setup ## Compare routing policies in virtual time (SEED=n; see benchmarks/ROUTING.md)
	@PYTHONHASHSEED=0 $(BIN)/python -m benchmarks.routing

profile: setup ## Say where the edge's CPU time goes (see docs/performance.md)
	@benchmarks/profile.sh $(ARGS)

bench-scale: setup ## Measure what grows with keys, accounts and edges (see docs/scaling.md)
	@$(BIN)/python benchmarks/scale/run.py $(ARGS)

images: ## Build the container image and its list of parts (see docs/image.md)
	@scripts/images.sh

clean: ## Remove what was made here
	rm -rf $(VENV) .uv .penstock .compiled .images .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: bench-scale help setup run compiled test test-cluster coverage check format protos lock mutants bench bench-check bench-routing profile images clean

# Two commands: `make demo` and `make test`. Both bring their own tools into this folder (.tools, .venv) and install nothing elsewhere.
PYTHON ?= python3
UV_VERSION := 0.13.9
TOOLS := .tools
UV := $(TOOLS)/bin/uv
STAMP := .venv/.installed
KEEP ?=

.PHONY: chart cluster cluster-check cluster-down demo-cluster demo test test-aws check long bench lock clean help

help: ## what there is to run
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

demo: $(STAMP) ## the whole chain for real: sandbox, identity, pipeline, proof (KEEP=1 leaves it running)
	@.venv/bin/towpath demo $(if $(KEEP),--keep)

test: $(STAMP) ## everything that can run on this machine
	.venv/bin/python -m pytest -n 2 --dist loadgroup -m "not long"

long: $(STAMP) ## what takes minutes
	.venv/bin/python -m pytest -n 2 --dist loadgroup -m long

test-aws: $(STAMP) ## opt-in, in an account of yours (TOWPATH_TEST_AWS=ID): where AWS answers otherwise than the sandbox
	@.venv/bin/python -m tools.aws

check: $(STAMP) ## format, lint, types, layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports

bench: $(STAMP) ## each benchmark beside its peer, as ratios
	.venv/bin/python -m benchmarks.start
	.venv/bin/python -m benchmarks.identity_apply
	.venv/bin/python -m benchmarks.decide
	.venv/bin/python -m benchmarks.exchange
	.venv/bin/python -m benchmarks.sandbox_s3
	.venv/bin/python -m benchmarks.sandbox_start
	.venv/bin/python -m benchmarks.memory
	.venv/bin/python -m benchmarks.launch

lock: $(UV) ## resolve anew: requirements.lock, and the same pins in pyproject.toml (KEEP=1 moves no version)
	$(PYTHON) tools/lock.py $(UV) $(if $(KEEP),--keep)

# The locked versions, checked by hash, then towpath itself from this folder.
$(STAMP): requirements.lock pyproject.toml | $(UV)
	@echo "installing the locked packages into .venv (first time: about a minute)"
	@test -x .venv/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

$(UV):
	@echo "fetching uv into $(TOOLS)"
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

clean: ## remove what make made here
	rm -rf .venv $(TOOLS) demo .cache .pytest_cache .ruff_cache .hypothesis

cluster: $(STAMP) ## a real Kubernetes on this machine (root and Debian; the first time builds it: 4 to 12 minutes)
	@.venv/bin/python -m tools.cluster up

cluster-down: $(STAMP) ## and away with it: no process, mount, rule or setting stays
	@.venv/bin/python -m tools.cluster down

demo-cluster: $(STAMP) ## the whole of it on the cluster `make cluster` brought up: identity, a real Job, refusals
	@.venv/bin/python -m tools.cluster.demo

cluster-check: $(STAMP) ## up, used, down, and nothing of it left on the machine
	@.venv/bin/python -m tools.cluster.check

chart: $(STAMP) ## render the Helm chart into what towpath agent install prints
	@.venv/bin/python -m tools.render

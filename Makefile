# Everything the targets need is made in .venv and node_modules; a second run finds it there.
PYTHON ?= python3
PY := .venv/bin/python
CDK := PATH="$(CURDIR)/.venv/bin:$$PATH" node_modules/.bin/cdk
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

.DEFAULT_GOAL := help
.PHONY: help venv node check release demo clients bench bench-calls bench-cold bench-reads latency load test lint synth synth-all local cli-page cost-page snapshots clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

venv: .venv/.made ## the Python environment everything else runs in

node: node_modules/.made ## the pinned AWS CDK command line

demo: venv ## a live scenario with stock kazoo on an embedded cloud
	@$(PY) -m faaskeeper_client.demo

local: venv ## everything on this machine, for ZooKeeper clients on 127.0.0.1:2181
	@.venv/bin/faaskeeper local

# most tests wait for an emulator most of the time; a file's tests share what is deployed for them
test: lint node ## lint, types and all tests
	$(PY) -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: lint ## lint, types and the tests that need no emulator (under a minute)
	$(PY) -m pytest --numprocesses 2 tests/architecture tests/znode tests/protocol tests/wire tests/release $(PYTEST)

release: venv ## VERSION=1.2.0: version, changelog, wheel and sdist, a commit and its tag
	@$(PY) scripts/release.py "$(VERSION)"

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

clients: venv ## other people's clients, as far as they are installed (3 min)
	@$(PY) -m tests.foreign_clients $(CLIENTS)

bench: venv ## what each operation costs, counted
	@$(PY) -m bench.operations 2>/dev/null | grep -v '"_aws"'

bench-reads: venv ## gets a second from memory, beside a ZooKeeper
	@$(PY) -m bench.reads

bench-calls: venv ## CPU time of one call to AWS, as sent here and by boto3
	@$(PY) -m bench.calls

bench-cold: venv ## CPU time of the first write of a new instance of the direct function
	@$(PY) -m bench.cold_start

load: venv ## 1,000 sessions, 10,000 watches, 10,000 writes at once, at AWS's limits and on this machine
	@$(PY) -m bench.load
	@$(PY) -m bench.load --embedded

latency: venv ## how long operations take at AWS's measured latencies, in virtual time
	@$(PY) -m bench.latency

synth: venv node ## the CloudFormation template of every tier, in cdk.out/TIER
	for tier in development standard critical; do \
		$(CDK) synth --quiet --output cdk.out/$$tier --context tier=$$tier || exit 1; \
	done

cli-page: venv ## bring docs/cli.md, made from the commands, up to date
	@$(PY) -m scripts.cli_page

cost-page: venv ## bring the figures of docs/cost.md and README.md up to date
	@$(PY) -m scripts.cost_page

snapshots: venv ## bring the reviewed template of each tier up to date
	$(PY) -m tests.infra.snapshots

synth-all: synth ## and of every example, in cdk.out/examples
	$(CDK) synth --quiet --output cdk.out/examples --app "$(PY) -m examples.app"
	cd examples/quota && PATH="$(CURDIR)/.venv/bin:$$PATH" $(CURDIR)/node_modules/.bin/cdk synth --quiet \
		--output $(CURDIR)/cdk.out/quota --app "python3 app.py"

clean: ## remove what the targets made
	rm -rf .venv .faaskeeper node_modules cdk.out dist build

.venv/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=...")'
	@command -v node >/dev/null || { echo "node is needed (the AWS CDK runs on it): install Node.js 22 or later" >&2; exit 1; }
	@echo "making .venv with the packages of pyproject.toml: about a minute, once" >&2
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

node_modules/.made: package.json package-lock.json
	@echo "making node_modules with the CDK's command line, once" >&2
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

include tests/conformance/conformance.mk
-include docs/spec/spec.mk
include simulator/simulator.mk
include tests/soak/soak.mk
include tests/systems/systems.mk
include tests/fuzz/fuzz.mk
include bench/compare/compare.mk

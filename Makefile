# One entry for every chore; .ci/run calls the same ones. GNU make 3.81 (macOS) is enough.
# The two bootstrap targets make .venv, or do nothing if it is there and up to date.

PYTHON_HERE = .venv/bin/python
ARGS =
SEEDS = 2000
STEPS = 4500
BENCH = $(PYTHON_HERE) -m benchmarks.run
CYCLES = 50
SUITE = $(PYTHON_HERE) -m coverage run -m pytest -p tools.measured -n 3 --dist worksteal -q
# What a run that was cut short has left of its measurements is no part of the next.
FORGET = rm -f .coverage .coverage.*

# Where it is set, each process that a test starts would compile all of Conflux anew: a third of a second of each.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test lint types check sim teeth faults fuzz cover bench bench-full bench-micro clean bootstrap-run bootstrap-dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'ARGS="..." is handed on, as in: make test ARGS="-k election". PYTHON=... chooses another Python.'

demo: bootstrap-run ## see it at work: a cluster on this machine
	@$(PYTHON_HERE) -m conflux.demo $(ARGS)

test: bootstrap-dev ## the test suite; raft, store, storage and node must be run to the last line by their own tests
	@$(FORGET)
	@$(SUITE) $(ARGS)

lint: bootstrap-dev ## ruff: rules and layout
	@$(PYTHON_HERE) -m ruff check .
	@$(PYTHON_HERE) -m ruff format --check .

types: bootstrap-dev ## mypy, strict
	@$(PYTHON_HERE) -m mypy conflux

check: lint types test ## lint, types and test

sim: bootstrap-dev ## clusters in the simulator, with faults
	@$(PYTHON_HERE) -m conflux simulate --seeds $(SEEDS) --steps $(STEPS) --jobs 2 $(ARGS)

teeth: bootstrap-dev ## errors put into Conflux on purpose: each must be found
	@$(PYTHON_HERE) -m tests.teeth --jobs 2 $(ARGS)

faults: bootstrap-dev ## real processes under fire: kill -9, pauses, partitions, full disks; CYCLES=300
	@CONFLUX_FAULTS=1 CONFLUX_FAULT_CYCLES=$(CYCLES) $(PYTHON_HERE) -m pytest tests/faults -q $(ARGS)

fuzz: bootstrap-dev ## a million frames, absurd messages, garbage at the ports of a live node
	@CONFLUX_FUZZ=1 $(PYTHON_HERE) -m pytest tests/fuzz -q $(ARGS)

cover: bootstrap-dev ## the test suite, measured as a whole: each room of the package has its floor
	@$(FORGET)
	@CONFLUX_MEASURE=all $(SUITE) $(ARGS)

bench: bootstrap-run ## how fast it is here, beside its peers, in about five minutes
	@$(BENCH) --only outside,inside,failover,recovery,syncs --rounds 2 --seconds 1 --output benchmarks/.results.json $(ARGS)
	@$(PYTHON_HERE) benchmarks/startup.py

bench-full: bootstrap-run ## all of it, and docs/performance.md from what is found
	@$(BENCH) --full --nodes 3,5 --inflight 1,64,256,1024,4096 --output benchmarks/results.json $(ARGS)
	@$(PYTHON_HERE) -m benchmarks.report

bench-micro: bootstrap-dev ## the path of an action in small, against the baseline
	@$(PYTHON_HERE) -m pytest benchmarks/micro -q --benchmark-columns=min,median,rounds --benchmark-sort=name $(ARGS)

clean: ## remove what make and the tools have made, .venv too
	@rm -f .venv/stamp-run .venv/stamp-dev
	@rm -rf .venv .demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

bootstrap-run:
	@sh tools/bootstrap run

bootstrap-dev:
	@sh tools/bootstrap dev

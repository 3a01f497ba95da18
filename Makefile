# Every target sets up what it needs in .venv. A stamp file per set makes the next call instant; it is
# named after the sourced ROS distro, because a venv made for ROS wheels does not fit a sourced ROS.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

MODE  := $(or $(ROS_DISTRO),wheels)
FLY   := $(VENV)/.fly-$(MODE)
TEST  := $(VENV)/.test-$(MODE)
SETUP := pyproject.toml constraints.txt setup.py scripts/setup_venv.sh
JOBS  ?= 2
# Tests against the wall clock (tests/conftest.py) mostly wait: apart from those that use the machine up, and $(2) times as
# many at a time. Code 5: ARGS picks none of them.
define run_tests
@run() { \
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $$1 -m "$$2 and $(1)" $(ARGS) || [ $$? -eq 5 ] || exit 1; \
}; \
run $(JOBS) "not wall_clock"; run $$(($(2) * $(JOBS))) wall_clock
endef

.DEFAULT_GOAL := help
.PHONY: help setup fly test slow check bench clean

help: ## this list
	@echo "make TARGET [ARGS='...'] [PYTHON=python3.11]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

$(FLY): $(SETUP)
	@PYTHON=$(PYTHON) VENV=$(VENV) scripts/setup_venv.sh fly $@

$(TEST): $(SETUP)
	@PYTHON=$(PYTHON) VENV=$(VENV) scripts/setup_venv.sh test $@
	@touch $(FLY)

setup: $(FLY) ## make .venv with what flying needs, and stop there

fly: $(FLY) ## take off, fly a figure-eight, land; ARGS='--help' lists what else it can do
	@$(VENV)/bin/control-stack fly $(ARGS)

test: $(TEST) ## run the tests but the slow ones; ARGS='tests/sim -x' picks, JOBS=0 runs one at a time
	$(call run_tests,not slow,2)

slow: $(TEST) ## run the slow tests: builds, trainings, long flights
	$(call run_tests,slow,1)

check: $(TEST) ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

bench: $(TEST) ## the simulator benchmarks, short version
	@$(VENV)/bin/control-stack bench sim --quick $(ARGS)

clean: ## remove .venv, builds and caches; runs/ stays
	rm -rf $(VENV) build dist install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

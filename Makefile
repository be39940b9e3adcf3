# Two commands are complete on a machine that has only Python 3.11 or newer and make: `make demo`, `make test`.
# Each makes the environment in .venv first if it is missing or out of date; a second call finds it ready.

SHELL := /bin/bash
# huge pages for temporary buffers: 15 to 20 % of the CPU time of a training step (benchmarks/list_train_step.py)
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help env demo test slow browser check format bench gpu docs lock clean distclean

PYTHON ?= python3# makes the environment
# two workers, a core each; a file stays on one, which compiles once; long files (docs, experiments) come first
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
DEMO_OUT ?= runs/demo
GPU_OUT ?= runs/paper
GPU_ARGS ?=# e.g. seeds=[0,1,2]
PIECE_MINUTES ?= 9# longest single piece of work on an accelerator
PIECES ?= 1000# pieces before `make gpu` stops; call it again to go on

# `make test PY=python` uses an environment of your own and installs nothing
ifeq ($(origin PY),undefined)
PY := .venv/bin/python
ENV := .venv/installed
COLOCUS := .venv/bin/colocus
endif
IN_ENV = PYTHONPATH=$(CURDIR) $(PY)
COLOCUS ?= $(IN_ENV) -m experiments.cli
FAST = -m "not slow and not gpu and not browser"

help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(ENV) ## the environment alone, in .venv

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Colocus needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@echo "Installing the environment into .venv (about 1 GB on disk, once) ..."
	@start=$$(date +%s); \
	test -x .venv/bin/python || $(PYTHON) -m venv .venv; \
	pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"; \
	$$pip --require-hashes --only-binary :all: -r requirements.lock; \
	$$pip --no-deps --no-build-isolation -e .; \
	touch $@; \
	echo "Environment installed in $$(( $$(date +%s) - start )) s (not counted in what follows)."

demo: $(ENV) ## learn a mask with its decoder and compare it with a Tetrapod: minutes on two cores
	@start=$$(date +%s); \
	$(COLOCUS) demo --out $(DEMO_OUT); \
	echo "Demo finished in $$(( $$(date +%s) - start )) s."

test: $(ENV) ## all tests and docstring examples, but those marked slow or gpu
	$(IN_ENV) -m pytest $(FAST) --durations=10 $(PYTEST_ARGS)

slow: $(ENV) ## the tests marked slow: whole runs and trainings, whose parts `make test` looks at
	$(IN_ENV) -m pytest -m "slow and not gpu and not browser" --durations=10 $(PYTEST_ARGS)

# without Chromium, and without the right to install it, the tests say so and are skipped
browser: $(ENV) ## the page of `colocus app`, driven in Chromium without a window
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ "$$(id -u)" != 0 ] || \
	  { apt-get update -qq && apt-get install -y -qq chromium; } || true
	$(IN_ENV) -m pytest -m browser --durations=5 -p no:xdist tests/app/test_browser.py

check: $(ENV) ## format, lint, types, import directions, fast tests
	$(IN_ENV) -m ruff format --check .
	$(IN_ENV) -m ruff check .
	$(IN_ENV) -m pyright
	$(IN_ENV) -c 'from importlinter.cli import lint_imports; raise SystemExit(lint_imports())'
	$(IN_ENV) -m pytest $(FAST) -x $(PYTEST_ARGS)

format: $(ENV) ## rewrite the sources in the house format
	$(IN_ENV) -m ruff format .
	$(IN_ENV) -m ruff check --fix .

# a benchmark that lacks a peer or data says so and measures the rest; one that fails does not stop the others
bench: $(ENV) ## every benchmark in benchmarks/, then the slow tests
	@failed=""; \
	for script in $$(grep -l '__main__' benchmarks/*.py 2>/dev/null); do \
	  echo "== $$script"; $(IN_ENV) $$script || failed="$$failed $$script"; \
	done; \
	echo "== slow tests"; $(IN_ENV) -m pytest -m "slow and not gpu and not browser" $(PYTEST_ARGS) || [ $$? -eq 5 ] || failed="$$failed tests"; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# pytest says 5 where no test carries the mark; colocus says 3 where the time limit ended the piece
gpu: $(ENV) ## everything that wants an accelerator, in pieces under ten minutes; call again to go on
	@$(IN_ENV) -c 'import sys, jax; sys.exit(jax.default_backend() == "cpu")' 2>/dev/null || { \
	  echo "make gpu: jax sees no accelerator here. On an NVIDIA machine: .venv/bin/pip install 'jax[cuda12]==$$(sed -n 's/^jax==\([0-9.]*\).*/\1/p' requirements.lock)'" >&2; exit 2; }
	@echo "1. the tests marked gpu"
	@echo "2. benchmarks/scene_speed.py: fit and sampling of a generator"
	@echo "3. colocus compare paper $(GPU_ARGS) --out $(GPU_OUT), pieces of $(PIECE_MINUTES) min, at most $(PIECES)"
	@JAX_PLATFORMS= $(IN_ENV) -m pytest -m gpu $(PYTEST_ARGS) || [ $$? -eq 5 ]
	@[ -f benchmarks/results/scene_speed_gpu.json ] || $(IN_ENV) benchmarks/scene_speed.py
	@for piece in $$(seq $(PIECES)); do \
	  status=0; $(COLOCUS) compare paper $(GPU_ARGS) --out $(GPU_OUT) --resume --minutes $(PIECE_MINUTES) || status=$$?; \
	  [ $$status -eq 3 ] || exit $$status; \
	done; echo "Not finished yet: the same command goes on from here."

docs: $(ENV) ## the figures of README and tutorials, drawn anew (run `make demo` first for the README's)
	@mkdir -p docs/figures
	@cd docs/figures && for tutorial in ../tutorials/*.py; do \
	  echo "$$tutorial"; PYTHONPATH=$(CURDIR) MPLBACKEND=Agg $(abspath $(PY)) $$tutorial; done
	@if [ -f $(DEMO_OUT)/figures/codesign.png ]; then cp $(DEMO_OUT)/figures/codesign.png docs/figures/; \
	  else echo "no $(DEMO_OUT)/figures/codesign.png: run 'make demo', then 'make docs' again"; fi

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	@PATH="$(CURDIR)/.venv/bin:$$PATH" uv pip compile pyproject.toml \
	  --extra dev --extra instruments --extra app --extra dask --extra remote --universal \
	  --python-version 3.11 --fork-strategy fewest --only-binary :all: --generate-hashes \
	  --no-emit-index-url --no-annotate --quiet --upgrade --output-file requirements.lock
	@! grep -nE 'http|://' requirements.lock

clean: ## remove caches and builds; the environment and the runs stay
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .hypothesis build ./*.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## remove the environment as well
	rm -rf .venv

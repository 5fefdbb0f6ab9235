# Needs a Python (3.12 or newer), its pip, and make; everything else goes into this folder's own .venv.
# Another interpreter: make test PYTHON=/path/to/python
.PHONY: help demo test lint validate mutations reference bench picture clean environment
.NOTPARALLEL:
.DEFAULT_GOAL := help
unexport PYTHONHOME PYTHONPATH

# Two workers with one thread each: more threads are slower, and change the last bits of a sum.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
PYTEST = .venv/bin/python -m pytest -q --no-header -n 2 --dist loadgroup

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name says; do printf '%-15s %s\n' "$$name" "$$says"; done

demo: environment ## run a crash and two calm weeks into results/demo, and say what to look at
	@rm -rf results/demo
	@.venv/bin/backstop run crash --out results/demo/crash
	@.venv/bin/backstop run baseline --steps 336 --out results/demo/baseline
	@echo 'Look at, in results/demo/crash: the fund against its flows, who paid in waterfall order, the defaults on the network:'
	@find results/demo/crash -name '*.png' | sort | sed 's/^/  /'
	@echo 'and at the same figures in results/demo/baseline, where the fund is accrued in calm.'

test: lint ## style, types and the quick tests
	@$(PYTEST)

lint: environment ## style and types only
	@printf 'ruff check: ' && .venv/bin/ruff check .
	@printf 'ruff format: ' && .venv/bin/ruff format --check .
	@printf 'mypy: ' && .venv/bin/mypy

validate: environment ## the slow statistical tests
	@$(PYTEST) -m slow --hypothesis-profile=default

mutations: environment ## break the engine in listed ways, one at a time; each must be noticed (some ten minutes)
	@.venv/bin/python -m experiments.mutations --workers 2

reference: environment ## run the shipped studies anew and compare with results/reference (an hour); one: make reference STUDY=fund-size
	@.venv/bin/python -m experiments.reference $(STUDY)

bench: environment ## time a step in account-steps per second
	@.venv/bin/backstop bench

picture: environment ## draw the pictures of the browser UI anew, by a Chromium that is installed
	@.venv/bin/backstop app crash --picture results/reference/app

clean: ## remove .venv, caches, builds and results/demo
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis results/demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp names what the environment was made from: interpreter, place, pins and project. A changed one is rebuilt.
# setuptools builds the project, hatchling solara-assets, which ships as source alone.
environment:
	$(eval FOUND := $(shell sh .ci/interpreter '$(PYTHON)'))
	$(if $(filter /%,$(firstword $(FOUND))),,$(error $(FOUND)))
	@made_from="$(FOUND) $(CURDIR) $$(cat constraints.txt pyproject.toml | cksum)"; \
	if [ "$$(cat .venv/made-from 2>/dev/null)" != "$$made_from" ]; then \
	  echo "environment: installing into .venv with $(FOUND) (a minute or two)"; \
	  rm -rf .venv; \
	  if "$(FOUND)" -c 'import ensurepip' 2>/dev/null; then "$(FOUND)" -m venv .venv; \
	  else "$(FOUND)" -m venv --without-pip .venv && "$(FOUND)" -m pip --python .venv/bin/python install -qq -c constraints.txt pip; fi \
	  && .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt pip setuptools hatchling \
	  && .venv/bin/python -m pip install -qq --no-input -c constraints.txt --no-build-isolation -e '.[test,browser]' \
	  && printf '%s' "$$made_from" >.venv/made-from; \
	fi

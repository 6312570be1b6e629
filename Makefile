# `make demo` and `make test` need Python 3.10 or newer and nothing else: each sets up .venv itself.

PYTHON ?= python3
SECONDS ?= 60
VENV   := .venv
MUTANTS := .venv-mutants
PY     := $(VENV)/bin/python
INSTALL = $(PY) -m pip install --quiet

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-long test-hard test-versions test-suites check fuzz mutants docs table \
	clean
.NOTPARALLEL:        # demo and test install into one environment
.DELETE_ON_ERROR:

help:
	@echo "make demo    explain a photograph with a trained network; writes out/chelsea.png"
	@echo "make test    run the tests"
	@echo "make test-long   run what make test leaves out because it takes minutes: notebooks, Ray"
	@echo "make test-hard   run them where little is as usual; AS=nobody: as that user; SEED=: in that order"
	@echo "make test-versions   run them on the versions that README names, an hour;"
	@echo '                     PADDLE="3.0.0" PYTHONS="3.10 3.13" SUITE="tests/contract" ALL=1 choose'
	@echo "make test-suites   run those against PaddleClas, PaddleSeg, PaddleDetection and PaddleNLP;"
	@echo '                     SUITE=paddleclas chooses'
	@echo "make check   ruff, mypy --strict and the tests"
	@echo "make fuzz    feed hostile values to all that reads what a user gives, for SECONDS=60"
	@echo "make mutants changes the code a little, 400 times, and sees whether an oracle notices"
	@echo "make docs    build the documentation as a site into out/site"
	@echo "make table   write the README's table of methods anew"
	@echo "make clean   remove .venv, out and everything built"
	@echo "PYTHON=python3.12 make …   chooses the Python that .venv is made with"

# A stamp is written only when its step has succeeded, so an interrupted one is done again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	    "error: Python 3.10 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@echo "Making $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

METADATA := requirements.txt setup.py pyproject.toml interpretdl/version.py

$(VENV)/.demo: $(VENV)/.created $(METADATA)
	@echo "Installing what the demo needs (about 1.5 GB on disk, a minute or two) …"
	@$(INSTALL) -r requirements.txt -e ".[demo]"
	@touch $@

# What the tests need includes what the demo needs.
$(VENV)/.test: $(VENV)/.created $(METADATA)
	@echo "Installing what the tests need (about 1.5 GB on disk, a minute or two) …"
	@$(INSTALL) -r requirements.txt -e ".[demo,dev]"
	@touch $(VENV)/.demo $@

$(VENV)/.docs: $(VENV)/.created $(METADATA)
	@echo "Installing what the documentation needs (about 1.5 GB on disk, a minute or two) …"
	@$(INSTALL) -r requirements.txt -e ".[demo,docs]"
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo
	@mkdir -p out
	@$(PY) -m interpretdl explain assets/chelsea.png --model efficientnet_lite0 \
	    --method grad_cam --save out/chelsea.png

test: $(VENV)/.test
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

test-long: $(VENV)/.test
	@$(INSTALL) -e ".[ray]"
	@$(PY) -m pytest -n auto --maxprocesses 4 -m long $(PYTEST_ARGS)

test-hard: $(VENV)/.test
	@$(PY) -m tests.hard $(if $(SEED),--seed $(SEED)) $(if $(AS),--user $(AS)) \
	    -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

test-versions:
	@$(PYTHON) tests/versions.py $(if $(PADDLE),--paddle $(PADDLE)) \
	    $(if $(PYTHONS),--python $(PYTHONS)) $(if $(ALL),--all) -- $(SUITE)

test-suites: $(VENV)/.test
	@$(PY) tests/suites/environments.py $(SUITE) $(if $(PYTEST_ARGS),-- $(PYTEST_ARGS))

check: $(VENV)/.test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(MAKE) --no-print-directory test

fuzz: $(VENV)/.test
	@$(PY) -m tests.fuzz --seconds $(SECONDS)

# Its own environment: what it needs beyond the tests' is installed there, the rest is .venv's.
$(MUTANTS)/.ready: $(VENV)/.test
	@rm -rf $(MUTANTS)
	@$(PY) -m venv $(MUTANTS)
	@$(MUTANTS)/bin/python -m pip install --quiet cosmic-ray==8.7.0 coverage==7.17.3 toml==0.10.2
	@$(PY) -c 'import sysconfig as s; print(s.get_path("purelib"))' \
	    > $(MUTANTS)/$$(cd $(MUTANTS) && echo lib/python*/site-packages)/tests.pth
	@touch $@

mutants: $(MUTANTS)/.ready
	@$(MUTANTS)/bin/python -m tests.mutants $(MUTANTS_ARGS)

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "Wrote out/site/index.html"

table: $(VENV)/.demo
	@$(PY) -c 'from interpretdl.cli.tables import write_table; write_table("README.md")'

clean:
	rm -rf $(VENV) $(VENV)-versions $(VENV)-suites $(MUTANTS) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

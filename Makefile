# make sweep    train the four cells of the README, with a report
# make test     run the whole test suite
# make check    check style, types, and the dependencies between the packages
# make docs     build docs/ as a site in docs/_build; a broken link is an error
# make mutants  mutation testing of the statistics: list the mutants that no test kills
# make bench    measure all numbers in docs/speed.md; takes about 20 minutes
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: sweep test check docs mutants bench clean

sweep: $(INSTALLED)
	$(VENV)/bin/python run.py -m init=he,lecun optim=adam,sgd

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

check: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python docs/module_map.py

docs: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(VENV)/bin/python -m sphinx -W --keep-going --quiet -c docs . docs/_build
	@echo "docs/_build/docs/index.html"

# Of outcomes, roles and effort, only functions that compute; the rest of these modules arranges tables.
mutants: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	$(VENV)/bin/mutmut run $(foreach module,contrasts pairs effects means spending looks sources budget,'mnist_mlp.analysis.$(module).*') \
		'mnist_mlp.analysis.outcomes.x_at_chance*' \
		'mnist_mlp.analysis.roles.x_score*' 'mnist_mlp.analysis.roles.x_choose*' 'mnist_mlp.analysis.effort.x_tuning_efforts*'
	$(VENV)/bin/mutmut results

bench: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(VENV)/bin/python -m benchmarks

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

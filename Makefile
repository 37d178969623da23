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
	$(VENV)/bin/python docs/words.py

docs: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(VENV)/bin/python -m sphinx -W --keep-going --quiet -c docs . docs/_build
	@echo "docs/_build/docs/index.html"

# All of stats, and what computes in analysis; the rest of that arranges tables.
mutants: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	$(VENV)/bin/mutmut run 'mnist_mlp.stats.*' $(foreach module,effects interim sources budget,'mnist_mlp.analysis.$(module).*') \
		$(foreach name,score select rank_candidates previous_seeds,'mnist_mlp.analysis.selection.x_$(name)*') \
		'mnist_mlp.analysis.outcomes.x_at_chance*' 'mnist_mlp.analysis.effort.x_tuning_efforts*'
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

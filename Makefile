# `make demo` explains three reviews, `make test` passes the tests; each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quick lint types bench fuzz reliability clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "textlrp needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/developed: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/installed
	@$(BIN)/python examples/explain_reviews.py

# A file's tests stay in one process: they share its models and its browser.
test: .venv/developed
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

# Without the sweeps over all architectures, the browser and whatever takes more than about five seconds.
quick: .venv/developed
	$(BIN)/python -m pytest -m "not architectures and not browser and not slow"

lint: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/developed
	$(BIN)/python tests/benchmarks/suite.py

# Random calls: `make fuzz SEED=1 COUNT=20000`.
SEED ?= 0
COUNT ?= 20000

fuzz: .venv/developed
	$(BIN)/python tests/reliability/fuzz.py --count $(COUNT) --seed $(SEED)

# Every attack under tests/reliability, an hour or two: interrupts, threads, kills, sick models, damaged files, ...
reliability: .venv/developed
	$(BIN)/python tests/reliability/suite.py --seed $(SEED)

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache

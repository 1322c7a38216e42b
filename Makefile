# Everything runs in .venv; each target makes what it needs and a second run reinstalls nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: demo test torture check bench clean

demo: $(STAMP)
	$(BIN)/python train.py --c config/metasemi/digits_40.yaml --save_name demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest

# Fifteen minutes; MINUTES=1 for a shorter one.
torture: $(STAMP)
	$(BIN)/python tests/torture.py --minutes $(or $(MINUTES),15)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH_STAMP)
	$(BIN)/python -m metasemi_plugin bench standard

$(STAMP): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info

# Everything runs in .venv; each target makes what it needs and a second run reinstalls nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

# What a machine with a PyTorch of its own and no network needs beside it for `make gpu`.
PY ?= 3.12
GPU ?= $(BIN)/python
BUNDLE := semilearn==0.3.2 ruamel.yaml ruamel.yaml.clib psutil tqdm scikit-learn scipy joblib \
	threadpoolctl timm safetensors pyyaml pytest iniconfig pluggy packaging pygments \
	tensorboard protobuf absl-py narwhals

.PHONY: demo test torture check bench gpu bundle clean

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

# With the bundle: make gpu GPU="env PYTHONPATH=site python3". Cut off, it goes on where it was.
gpu:
	$(GPU) -m pytest tests/gpu
	$(GPU) -m metasemi_plugin bench gpu

# Under 60 MB of wheels for Python $(PY) in bundle/: pip install --no-index --no-deps --target site bundle/*
bundle:
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --python-version $(PY) \
		--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
		--platform manylinux2014_x86_64 -d bundle $(BUNDLE)
	$(PYTHON) -m pip wheel --quiet --no-deps -w bundle progress
	du -sh bundle

$(STAMP): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info

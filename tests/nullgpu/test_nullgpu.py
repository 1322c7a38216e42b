"""On a GPU an iteration waits for nothing, and is captured as one graph: counted without a GPU."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

import metasemi_plugin
from metasemi_plugin.config.algorithms import ALGORITHMS

HERE = Path(__file__).parent
OURS = [n for n, algorithm in ALGORITHMS.items() if algorithm.origin == metasemi_plugin.__name__]
HOSTS = {"supervised": None, "meanteacher": None, "fixmatch": None, "mixmatch": "ops.py"}


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """algorithm -> compile -> what an iteration asked for."""
    folder = tmp_path_factory.mktemp("nullgpu")
    packages = Path(sysconfig.get_paths()["purelib"])
    includes = [
        *packages.glob("nvidia/**/cuda_runtime_api.h"),
        *packages.glob("triton/backends/nvidia/include/cuda.h"),
    ]
    if torch.version.cuda is None or torch.cuda.is_available() or not includes:
        pytest.skip("nullgpu: needs a torch built for CUDA and its headers, and no GPU")
    if shutil.which("gcc") is None:
        pytest.skip("nullgpu: needs gcc")
    for source, library in (("runtime.c", "runtime.so"), ("driver.c", "libcuda.so.1")):
        flags = ["-O1", "-fPIC", "-shared", "-w", *(f"-I{path.parent}" for path in includes)]
        subprocess.run(["gcc", *flags, "-o", folder / library, HERE / source], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "LD_PRELOAD": str(folder / "runtime.so")}
    command = [sys.executable, HERE / "count.py", *OURS, *HOSTS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.nullgpu
@pytest.mark.parametrize("name", [*OURS, *HOSTS])
def test_an_eager_iteration_waits_for_nothing(counts, name):
    eager = counts[name]["off"]
    assert eager["launches"] > 50
    assert (eager["synchronizations"], eager["to host"]) == (0, 0)


@pytest.mark.nullgpu
@pytest.mark.parametrize("name", [*OURS, *(n for n, refuses in HOSTS.items() if not refuses)])
def test_a_captured_iteration_is_one_copy_and_one_graph(counts, name):
    replayed = counts[name]["auto"]
    assert replayed["refused"] is None
    asked = {key: replayed[key] for key in ("to device", "to host", "synchronizations", "graphs")}
    assert asked == {"to device": 1, "to host": 0, "synchronizations": 0, "graphs": 1}
    assert replayed["launches"] + replayed["on device"] <= 1  # the copy of what is logged


@pytest.mark.nullgpu
def test_what_cannot_be_captured_is_named_with_its_line(counts):
    for name, file in HOSTS.items():
        if file:
            assert counts[name]["auto"]["refused"].startswith(f"{file}:")
            assert counts[name]["auto"]["graphs"] == 0
            assert counts[name]["auto"]["launches"] > 50

"""One more algorithm, added to a copy as CONTRIBUTING says, is taken up by the tests of all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = (ROOT / "tests/toy.py").read_text(encoding="utf-8")
# Options stand with those of the other algorithms.
(OPTIONS,) = (line for line in TOY.splitlines(keepends=True) if line.startswith("TOY = "))
IMPORTED = "from metasemi_plugin.config.option import NOT_NEGATIVE, Option\n"
ALGORITHM = TOY.replace(OPTIONS, "").replace(
    IMPORTED, "from metasemi_plugin.config.algorithms import TOY\n"
)
TESTS = ["tests/algorithms/test_contract.py", "tests/algorithms/test_ranks_steps.py",
         "tests/host/test_runs.py"]  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    for folder in ("metasemi_plugin", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("pyproject.toml", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def add(path: Path, line: str, before: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, line + before), encoding="utf-8")


def test_runs_ranks_contract_and_fuzz_take_it_up(copy):
    algorithms, config = (
        copy / "metasemi_plugin" / p for p in ("algorithms", "config/algorithms.py")
    )
    (algorithms / "toy.py").write_text(ALGORITHM, encoding="utf-8")
    add(algorithms / "__init__.py", '    "toy": Toy,\n', '    "metasemi": AnyWeights,\n')
    add(
        algorithms / "__init__.py",
        "from metasemi_plugin.algorithms.toy import Toy\n",
        "\nALGORITHMS = {",
    )
    add(config, '    "toy": Algorithm("", TOY, _OURS),\n', '    "supervised": Algorithm(""),\n')
    add(config, OPTIONS, "\n\nclass Algorithm(")
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}

    def run(*words):
        done = subprocess.run([sys.executable, *words], cwd=copy, env=environment, text=True,
                              capture_output=True, timeout=300)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = run("-m", "pytest", "-p", "no:cacheprovider", "-vv", "-k", "toy", *TESTS)
    passed = {
        line.split("::")[0] for line in said.splitlines() if "toy" in line and "PASSED" in line
    }
    assert passed == set(TESTS)
    # Of these the fuzz tests draw.
    drawn = "import metasemi_plugin as m; m.register(); from metasemi_plugin.host import views"
    assert "'toy'" in run("-c", f"{drawn}; print(views.supported_algorithms())")

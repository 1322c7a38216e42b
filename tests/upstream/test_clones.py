"""The pull requests in whole clones: USB_TREES=/path/to/clone:/and/another pytest tests/upstream

Each clone is copied first. It is a matter of minutes, so it is left out where none are named.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from skeleton import NAMES, UPSTREAM, changed

TREES = [Path(path) for path in os.environ.get("USB_TREES", "").split(":") if path]
HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(not TREES, reason="USB_TREES names no clones"),
    pytest.mark.parametrize("tree", TREES, ids=str),
]


def run(root, *words):
    """Exit status of python with that tree's semilearn."""
    path = os.pathsep.join(map(str, [root, HERE, HERE.parent, HERE.parents[1]]))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", *map(str, words)]
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


@pytest.fixture
def copy(tree, tmp_path):
    return Path(shutil.copytree(tree, tmp_path / "usb"))


def apply(copy, name):
    return run(HERE, UPSTREAM / "apply.py", copy, name)


def test_meta_semi(copy):
    for _ in range(2):
        assert apply(copy, "metasemi") == 0
    assert run(copy, HERE / "exported.py") == 0


def test_configs_are_what_their_script_writes(copy, tmp_path):
    assert apply(copy, "metasemi") == 0
    (tmp_path / "config").mkdir()
    assert run(tmp_path, copy / "scripts/config_generator_classic_cv.py") == 0
    folder = "config/classic_cv/metasemi"
    written = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
    ours = {path.name: path.read_text() for path in (UPSTREAM / "metasemi" / folder).iterdir()}
    assert len(ours) == 12
    assert written == ours


@pytest.mark.parametrize("name", [name for name in NAMES if name != "metasemi"])
def test_a_fix(name, copy):
    (file,) = (UPSTREAM / name / "tests").glob("*.py")
    tests = ["-m", "pytest", "-q", "-p", "old_timm", f"tests/{file.name}"]
    before = {path: (copy / path).read_bytes() for path in changed(name)}
    assert apply(copy, name) == 0
    for path, text in before.items():
        (copy / path).write_bytes(text)
    assert run(copy, *tests) == pytest.ExitCode.TESTS_FAILED
    assert apply(copy, name) == 0
    assert run(copy, *tests) == 0

"""The export to whole trees: USB_TREES=/path/to/clone:/folder/of/an/installed/semilearn pytest ...

Each tree is copied first. It is a matter of minutes, so it is left out where no trees are named.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metasemi_plugin.upstream.fixes import FIXES

TREES = [Path(path) for path in os.environ.get("USB_TREES", "").split(":") if path]
HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(not TREES, reason="USB_TREES names no trees"),
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


def test_meta_semi(copy):
    export = ["-m", "metasemi_plugin", "export-upstream", "--usb", copy]
    assert run(HERE, *export) == 0
    assert run(HERE, *export, "--check") == 0
    assert run(copy, HERE / "exported.py") == 0


@pytest.mark.parametrize("name", FIXES)
def test_a_fix(name, copy):
    if not (copy / "setup.py").exists():
        pytest.skip("an installed package has no tests")
    fix = ["-m", "metasemi_plugin", "export-upstream", "--usb", copy, "--fix", name]
    tests = ["-m", "pytest", "-q", "-p", "old_timm", f"tests/{FIXES[name].test}"]
    before = {edit.path: (copy / edit.path).read_bytes() for edit in FIXES[name].edits}
    assert run(HERE, *fix) == 0
    for path, text in before.items():
        (copy / path).write_bytes(text)
    assert run(copy, *tests) == pytest.ExitCode.TESTS_FAILED
    assert run(HERE, *fix) == 0
    assert run(copy, *tests) == 0

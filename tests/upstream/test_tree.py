"""The export on a skeleton of their tree; test_clones.py does it on whole ones."""

import re
import subprocess
import sys

import pytest
from ruamel.yaml import YAML
from skeleton import SKELETON

NEW = [
    "config/classic_cv/metasemi/metasemi_0.yaml",
    "semilearn/algorithms/metasemi/__init__.py",
    "semilearn/algorithms/metasemi/metasemi.py",
    "semilearn/algorithms/metasemi/utils.py",
    "semilearn/nets/cnn13/__init__.py",
    "semilearn/nets/cnn13/cnn13.py",
]
CHANGED = [
    "CHANGE_LOG.md",
    "README.md",
    "docs/algorithm_zoo.md",
    "docs/reference.md",
    "scripts/config_generator_classic_cv.py",
    "semilearn/core/utils/registry.py",
    "semilearn/datasets/cv_datasets/datasetbase.py",
    "semilearn/nets/__init__.py",
]


def contents(tree):
    files = (path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files}


def test_a_second_export_changes_nothing_and_check_tells(tree, export):
    before = contents(tree)
    assert export("--check") == (1, [f"out of date: {path}" for path in sorted(NEW + CHANGED)])
    assert contents(tree) == before
    status, lines = export()
    after = contents(tree)
    assert (status, lines) == (0, [f"wrote: {path}" for path in sorted(NEW + CHANGED)])
    assert sorted(after.keys() - before.keys()) == NEW
    assert sorted(path for path in before if before[path] != after[path]) == CHANGED
    assert export("--check") == export() == (0, [f"{tree} is up to date"])
    assert contents(tree) == after

    file = tree / "semilearn/algorithms/metasemi/utils.py"
    file.write_bytes(file.read_bytes().replace(b"<= 0", b"< 0"))
    assert export("--check") == (1, ["out of date: semilearn/algorithms/metasemi/utils.py"])
    assert export()[0] == 0
    assert contents(tree) == after


def test_their_lines_stay(tree, export):
    export()
    for path in CHANGED:
        lines = (tree / path).read_text().splitlines()
        kept = [line for line in SKELETON[path].splitlines() if line.strip()]
        lost = [line for line in kept if line not in lines]
        assert len(lost) <= 1, path  # a name is added to a line


def test_what_is_written(tree, export):
    export()
    registry = {}
    exec((tree / "semilearn/core/utils/registry.py").read_text(), registry)
    assert registry["ALL_MODULES"][0][1][1] == "metasemi"

    class Dataset:
        alg = "metasemi"

    views = {}
    exec((tree / "semilearn/datasets/cv_datasets/datasetbase.py").read_text(), views)
    assert views["views"](Dataset, 3, "weak") == {"idx_ulb": 3, "x_ulb_w": "weak"}

    config = YAML(typ="safe").load(tree / "config/classic_cv/metasemi/metasemi_0.yaml")
    assert config == {
        "algorithm": "metasemi", "mixup_beta": 0.5, "meta_gradient": "forward", "uratio": 3,
        "multiprocessing_distributed": False, "gpu": 0, "amp": False,
    }  # fmt: skip


def test_an_installed_package_gets_its_part_only(tree, export):
    (tree / "setup.py").unlink()
    export()
    after = contents(tree)
    changed = [path for path in after if SKELETON.get(path, "").encode() != after[path]]
    assert sorted(changed) == [p for p in sorted(NEW + CHANGED) if p.startswith("semilearn")]


def test_no_line_names_the_plug_in(tree, export):
    export()
    for path in NEW + CHANGED:
        text = (tree / path).read_text()
        found = re.search(r"(?i)metasemi.plugin|plug-?in\b|\bthe host\b|:(func|class|meth):`", text)
        assert not found, f"{path}: {found}"
    for path in NEW[1:]:
        head = "# Copyright (c) Microsoft Corporation.\n# Licensed under the MIT License.\n\n"
        assert (tree / path).read_text().startswith(head)


def test_ruff_is_content(tree, export):
    export()
    folders = [tree / "semilearn/algorithms/metasemi", tree / "semilearn/nets/cnn13"]
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--isolated", "--no-cache", "--line-length=120", "--select=E,F,W,I,B,UP"]
    for command in (["check", *rules], ["format", "--check", *rules[:3]]):
        subprocess.run([*ruff, *command, *folders], check=True, stdout=subprocess.DEVNULL)


def test_an_older_python_or_torch_gets_the_import_error_that_their_registry_reports(
    tree, export, monkeypatch
):
    export()
    code = (tree / "semilearn/algorithms/metasemi/__init__.py").read_text()
    monkeypatch.setattr("torch.__version__", "2.3.1+cu121")
    with pytest.raises(ImportError, match=r"needs Python >= 3\.10 and torch >= 2\.4"):
        exec(code, {})


@pytest.mark.parametrize(
    ("path", "old", "found"),
    [
        ("semilearn/core/utils/registry.py", "'mixmatch', 'pimodel'", 0),
        ("CHANGE_LOG.md", "# Change Log", 0),
        ("docs/reference.md", "[32]", 2),
    ],
)
def test_a_tree_that_it_does_not_know_is_refused_and_left_alone(tree, export, path, old, found):
    file = tree / path
    text = file.read_text()
    file.write_text(text + text if found else text.replace(old, "something"))
    before = contents(tree)
    status, (line,) = export()
    assert status == 2
    assert str(file) in line
    assert f"should be there once, and is {found} times" in line
    assert contents(tree) == before


def test_a_part_of_the_edits_is_refused(tree, export):
    file = tree / "scripts/config_generator_classic_cv.py"
    old = '"defixmatch",\n'
    file.write_text(file.read_text().replace(f"{old}    ]", f'{old}        "metasemi",\n    ]'))
    status, (line,) = export("--check")
    assert status == 2
    assert f"{file} holds another version of this export" in line


def test_a_folder_without_semilearn_is_refused(tree, export):
    (tree / "semilearn").rename(tree / "elsewhere")
    status, (line,) = export()
    assert status == 2
    assert "--usb must be the root of a clone" in line

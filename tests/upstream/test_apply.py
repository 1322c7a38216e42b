"""The script, on a skeleton of their tree; test_clones.py has it on whole ones."""

import pytest
from skeleton import NAMES, SKELETON, UPSTREAM, changed


def contents(tree):
    files = (path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", NAMES)
def test_a_change_goes_in_once_and_touches_nothing_else(tree, apply, name):
    before = contents(tree)
    status, lines = apply(name)
    after = contents(tree)
    new = contents(UPSTREAM / name)
    assert (status, lines[-1]) == (0, f"patched: {name}.patch")
    assert lines[:-1] == [f"wrote: {path}" for path in sorted(new)]
    assert {path: after[path] for path in after.keys() - before.keys()} == new
    assert {path for path in before if before[path] != after[path]} == changed(name).keys()
    assert apply(name) == (0, [f"{tree} has it already"])
    assert contents(tree) == after


def test_all_of_them_go_into_one_tree_and_meta_semi_is_the_default(tree, apply):
    assert apply()[1][-1] == "patched: metasemi.patch"
    assert [apply(name)[0] for name in NAMES] == [0] * len(NAMES)


def test_a_file_that_was_lost_is_laid_again(tree, apply):
    apply()
    after = contents(tree)
    (tree / "semilearn/nets/cnn13/cnn13.py").unlink()
    assert apply() == (0, ["wrote: semilearn/nets/cnn13/cnn13.py"])
    assert contents(tree) == after


@pytest.mark.parametrize("path", changed("metasemi"))
def test_a_tree_that_it_does_not_know_is_refused_and_left_alone(tree, apply, path):
    (tree / path).write_text("something else\n")
    before = contents(tree)
    status, (line,) = apply()
    assert status == 2
    assert f"{tree} is not a tree that metasemi.patch knows" in line
    assert path in line
    assert "clean clone" in line
    assert contents(tree) == before


def test_a_part_of_the_patch_is_refused(tree, apply):
    apply()
    (tree / "README.md").write_text(SKELETON["README.md"])
    before = contents(tree)
    assert apply()[0] == 2
    assert contents(tree) == before


def test_what_is_there_and_differs_is_not_overwritten(tree, apply):
    file = tree / "semilearn/algorithms/metasemi/utils.py"
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    before = contents(tree)
    status, (line,) = apply()
    assert status == 2
    assert f"{file} is there and differs" in line
    assert contents(tree) == before


def test_no_folder_and_no_git_are_one_line(tree, apply, monkeypatch):
    tree.rename(tree.with_name("gone"))
    status, (line,) = apply()
    assert status == 2
    assert "no such folder" in line
    monkeypatch.setenv("PATH", "")
    assert apply() == (2, ["error: git is not installed, and applies the patch"])

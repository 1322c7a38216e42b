from pathlib import Path
from types import ModuleType

import pytest
import semilearn
from semilearn.algorithms.meanteacher import meanteacher
from semilearn.core.utils import ALGORITHMS, misc
from semilearn.lighting import trainer
from skeleton import SKELETON

from metasemi_plugin.upstream.fix_tests import test_config_file, test_meanteacher, test_trainer
from metasemi_plugin.upstream.fixes import FIXES, fix

INSTALLED = Path(semilearn.__file__).parents[1]


@pytest.mark.parametrize("name", FIXES)
def test_a_fix_is_a_change_by_itself(name, tree, export):
    file, test = FIXES[name].edits[0].path, f"tests/{FIXES[name].test}"
    assert export("--fix", name, "--check")[0] == 1
    assert export("--fix", name) == (0, [f"wrote: {file}", f"wrote: {test}"])
    assert export("--fix", name, "--check") == (0, [f"{tree} is up to date"])
    after = (tree / file).read_text()
    assert all((edit.made or edit.new) in after for edit in FIXES[name].edits)
    assert all(path == file or (tree / path).read_text() == text for path, text in SKELETON.items())
    (tree / file).write_text("")
    status, (line,) = export("--fix", name)
    assert status == 2
    assert "is not the file that this export knows" in line


def load(module: ModuleType, text: str) -> dict:
    """What a module of semilearn would define with another text."""
    names = {"__name__": module.__name__, "__file__": module.__file__}
    exec(text, names)
    return names


def test_the_released_semilearn_has_two_of_the_three():
    for name in ("meanteacher", "trainer"):
        for path, text in fix(INSTALLED, name).items():
            assert (INSTALLED / path).read_text() == text


def test_the_test_of_mean_teacher_shows_the_fault(monkeypatch):
    test_meanteacher.test_the_student_follows_the_teacher()
    (edit,) = FIXES["meanteacher"].edits
    text = Path(meanteacher.__file__).read_text().replace(edit.new, edit.old)
    monkeypatch.setattr(ALGORITHMS, "_dict", {})
    monkeypatch.setattr(test_meanteacher, "MeanTeacher", load(meanteacher, text)["MeanTeacher"])
    with pytest.raises(AssertionError, match="0"):
        test_meanteacher.test_the_student_follows_the_teacher()


def test_the_test_of_the_trainer_shows_the_fault(monkeypatch, capsys):
    test_trainer.test_fit_trains()
    lines = Path(trainer.__file__).read_text().splitlines()
    text = "\n".join(line for line in lines if "after_train_step" not in line)
    monkeypatch.setattr(test_trainer, "Trainer", load(trainer, text)["Trainer"])
    with pytest.raises(AssertionError, match=r"0\.0 == 0\.75"):
        test_trainer.test_fit_trains()


def test_the_test_of_config_files_shows_the_fault(monkeypatch, tmp_path):
    with pytest.raises(AttributeError, match="load"):
        test_config_file.test_values_of_a_file(tmp_path)
    (text,) = fix(INSTALLED, "yaml").values()
    name = "over_write_args_from_file"
    monkeypatch.setattr(test_config_file, name, load(misc, text)[name])
    test_config_file.test_values_of_a_file(tmp_path)
    test_config_file.test_a_file_cannot_call_python(tmp_path)

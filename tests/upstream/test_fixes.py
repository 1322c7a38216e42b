"""Each fix's test shows the fault, and the released semilearn has two of the three fixes."""

import shutil
from pathlib import Path

import pytest
import semilearn
from semilearn.algorithms.meanteacher import meanteacher
from semilearn.core.utils import ALGORITHMS, misc
from semilearn.lighting import trainer
from skeleton import UPSTREAM, load


def test_of(name):
    return load(next((UPSTREAM / name / "tests").glob("*.py")))


test_of.__test__ = False


def defined(module, text):
    """What a module of semilearn would define with another text."""
    names = {"__name__": module.__name__, "__file__": module.__file__}
    exec(text, names)
    return names


def test_mean_teachers_shows_the_fault(monkeypatch):
    test = test_of("meanteacher")
    test.test_the_student_follows_the_teacher()
    text = Path(meanteacher.__file__).read_text()
    for key in ("logits", "feat"):
        assert f"outs_x_ulb_s['{key}']" in text
        text = text.replace(f"outs_x_ulb_s['{key}']", f"outs_x_ulb_w['{key}']")
    monkeypatch.setattr(ALGORITHMS, "_dict", {})
    monkeypatch.setattr(test, "MeanTeacher", defined(meanteacher, text)["MeanTeacher"])
    with pytest.raises(AssertionError):
        test.test_the_student_follows_the_teacher()


def test_the_trainers_shows_the_fault(monkeypatch, capsys):
    test = test_of("trainer")
    test.test_fit_trains()
    lines = Path(trainer.__file__).read_text().splitlines()
    text = "\n".join(line for line in lines if "after_train_step" not in line)
    monkeypatch.setattr(test, "Trainer", defined(trainer, text)["Trainer"])
    with pytest.raises(AssertionError):
        test.test_fit_trains()


def test_that_of_config_files_shows_the_fault(monkeypatch, tmp_path):
    test = test_of("yaml")
    with pytest.raises(AttributeError, match="load"):
        test.test_values_of_a_file(tmp_path)
    file = tmp_path / "semilearn/core/utils/misc.py"
    file.parent.mkdir(parents=True)
    shutil.copy(misc.__file__, file)
    load(UPSTREAM / "apply.py").lay(tmp_path, "yaml")
    name = "over_write_args_from_file"
    monkeypatch.setattr(test, name, defined(misc, file.read_text())[name])
    test.test_values_of_a_file(tmp_path)
    test.test_a_file_cannot_call_python(tmp_path)


def test_the_released_mean_teacher_is_mended(tmp_path):
    shutil.copytree(Path(semilearn.__file__).parent / "algorithms/meanteacher",
                    tmp_path / "semilearn/algorithms/meanteacher")  # fmt: skip
    done = load(UPSTREAM / "apply.py").lay(tmp_path, "meanteacher")
    assert done == ["wrote: tests/test_meanteacher.py"]

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from metasemi_plugin.cli import main, train
from metasemi_plugin.cli.words import parse
from metasemi_plugin.config.names import more_are_known
from metasemi_plugin.errors import UserError

CONFIG = Path(__file__).parents[2] / "config"


def test_parse():
    words = ["--c", "x.yaml", "--lr=0.1", "--resume", "--seed", "-1", "--world-size", "1"]
    assert parse(words) == {
        "c": "x.yaml",
        "lr": "0.1",
        "resume": "true",
        "seed": "-1",
        "world_size": "1",
    }


def test_a_stray_word_is_named():
    with pytest.raises(UserError, match=r"'0\.2' belongs to no option"):
        parse(["--lr", "0.1", "0.2"])


def test_bad_input_is_one_line_and_status_2(capsys):
    assert train.main(["--sed", "1"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err == "error: command line: unknown key 'sed'; did you mean 'seed'?\n"


def test_options_without_a_command_are_those_of_train(capsys):
    assert main(["--sed", "1"]) == 2
    assert "unknown key 'sed'; did you mean 'seed'?" in capsys.readouterr().err


def test_the_file_is_not_left_out(capsys):
    assert train.main(["--c", "--seed", "1"]) == 2
    assert capsys.readouterr().err == "error: --c: expected a file, got nothing\n"


def test_help(capsys):
    assert train.main(["--help"]) == 0
    assert "--c FILE" in capsys.readouterr().out


def test_a_run_ends_with_its_summary(tiny_run, capsys):
    words = [w for key, value in tiny_run().items() for w in (f"--{key}", str(value))]
    assert train.main(words) == 0
    out = capsys.readouterr().out
    assert "metasemi on digits, 40 labels, seed 3: 6 iterations in" in out
    assert "test error: last" in out
    assert "tensorboard --logdir" in out


def test_with_validation_images_both_errors_are_reported(tiny_run, capsys):
    options = tiny_run(num_val=100)
    words = [w for key, value in options.items() for w in (f"--{key}", str(value))]
    assert train.main(words) == 0
    out = capsys.readouterr().out
    assert "validation error best" in out
    assert "validation error: last" in out
    assert "test error: last" in out
    assert "(chosen on validation, iteration" in out


def modules_after(*words):
    """Top-level packages that a command line has imported, and its exit status."""
    code = (
        "import json, sys\nfrom metasemi_plugin.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(json.dumps([status, [n.partition('.')[0] for n in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status, set(modules), done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["train", "--help"], 0, ""),
        (["train", "--help", "ict"], 0, ""),
        (["ls", "algorithms"], 0, ""),
        (["ls", "configs"], 0, ""),
        (["train", "--sed", "1"], 2, "unknown key 'sed'; did you mean 'seed'?"),
        (["train", "--lr", "-1"], 2, "lr: must be above 0"),
        (["train", "--net", "cnn31"], 2, "net: unknown 'cnn31'; did you mean 'cnn13'?"),
        (["train", "--dataset", "digit"], 2, "dataset: unknown 'digit'; did you mean 'digits'?"),
        (["train", "--c", "gone.yaml"], 2, "cannot read"),
        (["validate", "gone.yaml"], 2, "cannot read"),
    ],
)
def test_what_needs_no_torch_imports_none(words, status, said):
    found, modules, err = modules_after(*words)
    assert (found, said in err) == (status, True)
    assert modules & {"torch", "numpy", "semilearn", "pandas"} == set()


def test_a_folder_that_is_there_is_named_before_torch_is_imported(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "photo.png").touch()
    words = ["--dataset", "digits", "--save_dir", str(tmp_path), "--save_name", "there"]
    status, modules, err = modules_after("train", *words)
    assert status == 2
    assert "there exists; --overwrite does not replace it, because it holds what no run" in err
    assert "torch" not in modules


@pytest.mark.parametrize("command", ["validate", "compare"])
def test_what_is_wrong_with_a_suite_is_said_before_torch_is_imported(tmp_path, command):
    suite = tmp_path / "suite.yaml"
    config = CONFIG / "supervised/digits_40.yaml"
    suite.write_text(f"columns: {{digits: {{Supervised: {{config: {config}, sed: 1}}}}}}")
    status, modules, err = modules_after(command, str(suite))
    assert status == 2
    assert "row 'Supervised': command line: unknown key 'sed'; did you mean 'seed'?" in err
    assert "torch" not in modules


def test_what_is_wrong_with_configurations_is_said_before_torch_is_imported():
    status, modules, err = modules_after(
        "compare", str(CONFIG / "ict/digits_40.yaml"), "--sed", "1"
    )
    assert status == 2
    assert "unknown key 'sed'" in err
    assert "torch" not in modules


def test_names_may_have_been_added_as_soon_as_semilearn_is_imported(monkeypatch):
    """By semilearn's own registry, with nothing of this package imported that knows it."""
    importlib.import_module("semilearn")
    monkeypatch.delitem(sys.modules, "metasemi_plugin.host", raising=False)
    assert more_are_known()

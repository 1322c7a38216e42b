import pytest

from metasemi_plugin.cli import train
from metasemi_plugin.cli.words import parse
from metasemi_plugin.errors import UserError


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

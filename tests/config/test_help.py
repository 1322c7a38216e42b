"""The command line, pinned: what is added or taken away shows here."""

from pathlib import Path

import pytest

from metasemi_plugin.cli import train
from metasemi_plugin.config import help
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.options import OPTIONS

PAGE = Path(__file__).parents[2] / "docs/options.md"


def names(text):
    return [line.split()[0].removeprefix("--") for line in text.splitlines() if "  --" in line[:4]]


def test_help_names_every_option_once(capsys):
    assert train.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert names(out) == list(OPTIONS)
    assert max(map(len, out.splitlines())) <= help.WIDTH
    assert " ".join(sorted(ALGORITHMS)) == " ".join(out.split("one of\n")[1].split()).replace(
        ",", ""
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_help_of_an_algorithm_names_its_options(algorithm, capsys):
    assert train.main(["--help", algorithm]) == 0
    out = capsys.readouterr().out
    assert names(out) == [option.name for option in ALGORITHMS[algorithm].options]
    assert out.endswith("\n")


def test_choices_and_ranges_are_said():
    text = help.text("metasemi")
    assert "--consistency none" in text
    assert "none, ict, meanteacher, pimodel, vat" in " ".join(text.split())
    assert "on validation data; above 0" in " ".join(text.split())


def test_an_unknown_algorithm_is_named(capsys):
    assert train.main(["metasemy", "--help"]) == 2
    assert "--help: unknown 'metasemy'; did you mean 'metasemi'?" in capsys.readouterr().err


def test_the_page_of_options_is_what_they_are():
    """Pins names, defaults, meanings: python -m metasemi_plugin.config.help > docs/options.md"""
    assert PAGE.read_text(encoding="utf-8") == help.page()

"""Words of a command line."""

import argparse

from metasemi_plugin.config.option import Flag
from metasemi_plugin.errors import UserError


def parse(argv: list[str]) -> dict[str, str]:
    """``--key value``, ``--key=value`` and ``--flag`` (a Flag) as a dict.

    Raises:
        UserError: a word that belongs to no option.
    """
    options: dict[str, str] = {}
    words = iter(argv)
    key = None
    for word in words:
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            options[key] = value if equals else Flag("true")
            key = None if equals else key
        elif key is not None:
            options[key], key = word, None
        else:
            raise UserError(f"{word!r} belongs to no option; write --key value")
    return options


def at_least_1(text: str) -> int:
    """A number on the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def count(text: str) -> int:
    """A number on the command line that may be 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, not {number}")
    return number

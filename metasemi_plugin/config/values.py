"""A value as the type of its option, and names that were meant."""

import contextlib
import difflib
from collections.abc import Iterable

from ruamel.yaml import YAML

from metasemi_plugin.config.option import Flag, Option

_BOOLS = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}


def coerce(value: object, option: Option) -> object:
    """``value`` as the option's type; text (from a command line) is read as that type.

    Raises:
        ValueError: it can't be.
    """
    kind = option.type
    if isinstance(value, Flag) and kind is not bool:
        raise ValueError(f"expected {_article(kind)}, got nothing")
    if value in (None, "null", "None"):  # "None" is how USB's own YAML files write it
        if option.default in (None, ""):
            return option.default
        raise ValueError(f"expected {_article(kind)}, got nothing")
    if kind is dict and isinstance(value, str):
        try:
            value = YAML(typ="safe", pure=True).load(value)
        except Exception as error:
            raise ValueError(f"not valid YAML: {value!r}") from error
    if kind is not dict and isinstance(value, list | dict):
        # Not shown: a few lines of YAML can stand for billions of elements.
        raise ValueError(f"expected {_article(kind)}, got a {type(value).__name__}")
    if kind is bool and not isinstance(value, bool):
        value = _BOOLS.get(str(value).lower(), value)
    if kind is str and isinstance(value, int | float):
        value = str(value).lower()
    if kind is int and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = int(value)
    whole = kind is int and isinstance(value, int)
    if kind in (int, float) and not isinstance(value, bool) and not whole:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            number = float(value)  # type: ignore[arg-type]
            value = kind(number) if kind(number) == number else value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"expected {_article(kind)}, got {value!r}")
    return value


def _article(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "a mapping")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest of ``words``, or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(word: str, words: Iterable[str]) -> str:
    """ "unknown WORD", with the nearest of ``words`` or, where none is near, all of them."""
    return f"unknown {word!r}{did_you_mean(word, words) or '; one of ' + ', '.join(words)}"

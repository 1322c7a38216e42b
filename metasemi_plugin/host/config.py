"""The configuration of a run, checked against what semilearn and those who call know."""

import argparse
import inspect
from collections.abc import Mapping

from semilearn.core.utils import ALGORITHMS as HOST_ALGORITHMS

from metasemi_plugin.config import resolve as by_itself
from metasemi_plugin.config.algorithms import ALGORITHMS, Algorithm
from metasemi_plugin.config.option import Option
from metasemi_plugin.host.checks import impossible
from metasemi_plugin.host.label_numbers import settle_labels
from metasemi_plugin.host.views import supported_algorithms


def resolve(path: str | None, overrides: Mapping[str, object]) -> argparse.Namespace:
    """The complete configuration of a run; see `metasemi_plugin.config.resolve.resolve`."""
    _adopt()
    return by_itself.resolve(path, overrides, impossible, settle_labels)


def options(algorithm: str) -> dict[str, Option]:
    """Every option of a run of ``algorithm``, which may be registered from outside."""
    _adopt()
    return by_itself.options(algorithm)


def _adopt() -> None:
    """Take up the algorithms that were registered from outside, with their options."""
    for name in set(supported_algorithms()) - ALGORITHMS.keys():
        algorithm = HOST_ALGORITHMS[name]
        own = tuple(_option(argument) for argument in algorithm.get_argument())
        module = inspect.getmodule(algorithm)
        origin = module.__name__.partition(".")[0] if module else ""
        ALGORITHMS[name] = Algorithm("", own, origin)


def _option(argument) -> Option:
    kind = argument.type if isinstance(argument.type, type) else bool
    allowed = getattr(argument, "allowed", None)
    return Option(argument.name.lstrip("-"), kind, argument.default, argument.help, allowed)

"""What a configuration key is, and what its values may be."""

from collections.abc import Callable
from typing import NamedTuple

# What belongs to a call, not to a run: never part of the resolved configuration.
CALL_OPTIONS = ("c", "base", "resume", "overwrite", "extend")


class Range(NamedTuple):
    """What a number must be, in words, and whether it is."""

    words: str
    holds: Callable[[float], bool]


AT_LEAST_1 = Range("at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Range("at least 0", lambda value: value >= 0)
ABOVE_ZERO = Range("above 0", lambda value: value > 0)
BELOW_1 = Range("in [0, 1)", lambda value: 0 <= value < 1)
SHARE = Range("above 0 and at most 1", lambda value: 0 < value <= 1)


class Option(NamedTuple):
    """One configuration key.

    Attributes:
        name: as in a file, and on the command line after "--".
        type: bool, int, float, str or dict.
        default: what it is where nothing is said; None and "" stand for nothing.
        help: for people.
        allowed: the values that it may have, or their range; None: any of its type.
    """

    name: str
    type: type
    default: object
    help: str
    allowed: Range | tuple[str, ...] | None = None


class Flag(str):
    """The value "true" of an option that was given without one, as only a bool may be."""

"""What a configuration key is."""

from typing import NamedTuple

# What belongs to a call, not to a run: never part of the resolved configuration.
CALL_OPTIONS = ("c", "base", "resume", "overwrite")


class Option(NamedTuple):
    """One configuration key, declared beside the code that reads it."""

    name: str
    type: type
    default: object
    help: str


class Flag(str):
    """The value "true" of an option that was given without one, as only a bool may be."""

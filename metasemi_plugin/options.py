from typing import NamedTuple


class Option(NamedTuple):
    """One configuration key, declared beside the code that reads it."""

    name: str
    type: type
    default: object
    help: str


class Flag(str):
    """The value "true" of an option that was given without one, as only a bool may be."""

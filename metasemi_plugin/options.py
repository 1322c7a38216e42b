from typing import NamedTuple


class Option(NamedTuple):
    """One configuration key, declared beside the code that reads it."""

    name: str
    type: type
    default: object
    help: str

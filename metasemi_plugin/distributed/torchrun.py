"""Whether torchrun has started this process, as the environment tells."""

import os

from metasemi_plugin.errors import UserError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class Gone(UserError):
    """Another process of the run has ended; it has been said."""


def in_torchrun() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return all(name in os.environ for name in TORCHRUN) and int(os.environ["WORLD_SIZE"]) > 1


def speaks(error: UserError | None = None) -> bool:
    """Whether this process has something to tell people: rank 0 has, if it is not said yet."""
    first = not in_torchrun() or int(os.environ["RANK"]) == 0
    return first and not isinstance(error, Gone)

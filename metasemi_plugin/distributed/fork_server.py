"""New processes, each ready at once: forks of one that has imported all that is slow."""

import multiprocessing
from multiprocessing.context import ForkServerContext
from typing import Final

START_METHOD: Final = "forkserver"


def context() -> ForkServerContext:
    """Of multiprocessing. Environment and threads of a new process are those of the server."""
    made = multiprocessing.get_context(START_METHOD)
    made.set_forkserver_preload(["metasemi_plugin.host.on_device"])
    return made

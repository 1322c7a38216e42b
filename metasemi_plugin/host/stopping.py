"""Ctrl-C and SIGTERM: the step under way is finished and saved."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from metasemi_plugin.distributed import collectives
from metasemi_plugin.run_folder.state import RunState

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# torchrun passes on the Ctrl-C that its processes have seen themselves: seconds in which that is
# one, and not a second one.
AT_ONCE = 2.0
# Seconds after which a process that has not noticed a signal waits for others in vain. torchrun
# kills it after 30.
STUCK = 10.0
LEFT = (
    "error: ended before the step was done, as it may wait for another process in vain: the same "
    "command with --resume goes on from the last checkpoint"
)


@contextmanager
def stopping_on_signals(state: RunState) -> Iterator[None]:
    """A block in which a signal sets ``state.stop_requested``; a second one kills at once.

    Of several processes, one that waits for the others and cannot notice it is ended after a while.
    """

    def request(number, frame):
        state.stop_requested = True
        if collectives.world_size() == 1:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)

    with (
        on_signals(request) as heard,
        _watched(state) if heard and collectives.world_size() > 1 else nullcontext(),
    ):
        yield


@contextmanager
def on_signals(handler: Callable) -> Iterator[bool]:
    """A block in which Ctrl-C and SIGTERM call the handler; yields whether they do.

    Python hands signals to its main thread only; in another, they are what they were.
    """
    heard = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in SIGNALS if heard}
    try:
        yield heard
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier or signal.SIG_DFL)


@contextmanager
def _watched(state: RunState) -> Iterator[None]:
    """A block in which a thread ends the process if Python does not get to see a signal.

    The system's own handler writes into a pipe even while a message of the other processes is
    waited for, which may be for ever.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()

    def watch() -> None:
        os.read(reader, 1)
        began = time.monotonic()
        while not over.is_set():
            again = bool(select.select([reader], [], [], 0.1)[0] and os.read(reader, 1))
            waited = time.monotonic() - began
            stuck = waited > STUCK and not state.stop_requested
            if stuck or (again and waited > AT_ONCE and not over.is_set()):
                print(LEFT, file=sys.stderr, flush=True)
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        os.write(writer, b"\0")
        thread.join()
        os.close(reader)
        os.close(writer)

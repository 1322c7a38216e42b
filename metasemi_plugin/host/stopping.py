"""Ctrl-C and SIGTERM: the step under way is finished and saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals(algorithm) -> Iterator[None]:
    """A block in which a signal sets ``algorithm.stop_requested``; a second one kills at once.

    Python hands signals to its main thread only; in another, they are what they were.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(number, frame):
        algorithm.stop_requested = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)

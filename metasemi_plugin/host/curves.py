"""Curves that cost no run: where they cannot be written, they end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from semilearn.core.utils import TBLog

from metasemi_plugin.host.trackers import Log
from metasemi_plugin.run_folder.layout import CURVES


class Curves(TBLog):
    """The host's TBLog, whose scalars go to trackers as well.

    Each of them gives up after the first failure and says so once.
    """

    def __init__(self, folder: Path, use_tensorboard: bool, logs: Sequence[Log]):
        super().__init__(str(folder), CURVES, use_tensorboard)
        if use_tensorboard:
            self.writer: Any = _Writer(self.writer)
        self.logs = [_until_it_fails(log) for log in logs]

    def update(self, log_dict, it, suffix=None, mode="train"):
        super().update(log_dict, it, suffix, mode)
        scalars = {key: float(value) for key, value in log_dict.items() if isinstance(value, Real)}
        for log in self.logs:
            log(scalars, it)


class _Writer:
    def __init__(self, writer):
        self._call = _until_it_fails(lambda name, *a, **k: getattr(writer, name)(*a, **k))

    def __getattr__(self, name):
        return lambda *args, **kwargs: self._call(name, *args, **kwargs)


def _until_it_fails(function: Callable) -> Callable:
    failed = False

    def call(*args, **kwargs) -> None:
        nonlocal failed
        if not failed:
            try:
                function(*args, **kwargs)
            except Exception as error:  # a disk, a network, a service
                failed = True
                print(f"no more curves: {type(error).__name__}: {error}", flush=True)

    return call


@contextmanager
def quiet_writers() -> Iterator[None]:
    """A block in which TensorBoard's threads print no traceback: what fails there is said above."""
    before = threading.excepthook

    def hook(args) -> None:
        if not type(args.thread).__module__.startswith("tensorboard."):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before

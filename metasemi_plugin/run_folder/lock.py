"""One process a run folder: an exclusive lock that the system takes back when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files
from metasemi_plugin.run_folder.layout import LOCK

# Seconds: not at the first failure, as `holder` has the lock for as long as it looks.
PATIENCE = 0.2


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block in which no other process has the run folder; makes it if need be.

    Raises:
        UserError: another process has it.
    """
    with ExitStack() as held:
        with files.writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(_lock(folder))
            except Timeout:
                raise in_use(folder, _pid(folder)) from None
        with suppress(OSError):  # Windows lets nobody write into a file that is locked
            (folder / LOCK).write_text(str(os.getpid()), encoding="ascii")
        yield


def holder(folder: Path) -> str | None:
    """The id of the process that has the run folder, or None."""
    if not (folder / LOCK).exists():
        return None
    try:
        with _lock(folder):
            return None
    except Timeout:
        return _pid(folder)
    except OSError:
        return None  # what is in the way is for `locked` to say


def in_use(folder: Path, pid: str) -> UserError:
    """What to tell those who wait for it."""
    return UserError(
        f"the run folder {folder} is in use by process {pid}: wait for it, or stop it first"
    )


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / LOCK, timeout=PATIENCE, poll_interval=0.01)


def _pid(folder: Path) -> str:
    with suppress(OSError):
        return (folder / LOCK).read_text(encoding="ascii").strip() or "unknown"
    return "unknown"

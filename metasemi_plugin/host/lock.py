"""One process a run folder: an exclusive lock that the system takes back when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from metasemi_plugin.errors import UserError
from metasemi_plugin.host import files
from metasemi_plugin.host.run_folder import LOCK


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block in which no other process has the run folder; makes it if need be.

    Raises:
        UserError: another process has it.
    """
    with files.writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        opened = open(folder / LOCK, "a+", encoding="ascii")  # noqa: SIM115
    with opened as file:
        # Not at the first failure: `holder` has the lock for as long as it looks.
        for _ in range(10):
            if _take(file, fcntl.LOCK_EX):
                break
            time.sleep(0.05)
        else:
            raise in_use(folder, _pid(file))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> str | None:
    """The id of the process that has the run folder, or None."""
    try:
        with open(folder / LOCK, encoding="ascii") as file:
            return None if _take(file, fcntl.LOCK_SH) else _pid(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # what is in the way is for `locked` to say


def in_use(folder: Path, pid: str) -> UserError:
    """What to tell those who wait for it."""
    return UserError(
        f"the run folder {folder} is in use by process {pid}: wait for it, or stop it first"
    )


def _take(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"

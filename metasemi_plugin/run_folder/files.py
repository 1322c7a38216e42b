"""Files that are replaced whole, and survive a loss of power once they are."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metasemi_plugin.errors import UserError


def replace(path: Path, *chunks: bytes, before_moving: Iterable[tuple[Path, Path]] = ()) -> None:
    """Write `chunks` beside `path` and move them into its place.

    Args:
        path: its folder exists.
        chunks: the new contents, one after the other.
        before_moving: (from, to) of files to rename once the new contents are safe on the disk.

    Raises:
        OSError: nothing has been moved, and nothing is left behind, but for a failure to rename.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        for old, new in before_moving:
            os.replace(old, new)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def _sync_names(folder: Path) -> None:
    if sys.platform == "win32":  # where folders cannot be opened
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def expect_ours(folder: Path, *names: str) -> None:
    """Stop where files of these names are not those that a command has once written together.

    Raises:
        UserError: some of them are in the folder, and some are not.
    """
    missing = [name for name in names if not (folder / name).exists()]
    if 0 < len(missing) < len(names):
        there = next(name for name in names if name not in missing)
        raise UserError(
            f"{folder / there} would be replaced, but there is no {missing[0]} beside it: it is "
            "not of an earlier call; move it away, or write to another folder"
        )


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """A block in which what the system refuses becomes one error that says what to do.

    Raises:
        UserError: for any OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to the run folder {folder} ({error.strerror or error}): make room or "
            "mend its permissions, or take another with --save_dir"
        ) from error

"""Changes to files that are there: each knows its place, and whether it has been made."""

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.errors import UserError


class Edit(NamedTuple):
    """``old`` becomes ``new`` in a file.

    Args:
        path: in their repository.
        old: a text that is there once.
        new: what takes its place; as a rule, it with something before or after it.
        made: a text that is there when the edit has been made; default ``new``.
    """

    path: str
    old: str
    new: str
    made: str | None = None


def edited(root: Path, edits: Iterable[Edit]) -> dict[str, str]:
    """Path -> text of the files after the edits; where all have been made, as they are.

    Raises:
        UserError: a file, or the place in a file, is not there; or it holds a part of the edits.
    """
    texts = {}
    by_path = groupby(sorted(edits, key=attrgetter("path")), key=attrgetter("path"))
    for path, group in by_path:
        changes = list(group)
        text = _read(root / path)
        made = [(edit.made or edit.new) in text for edit in changes]
        if not all(made):
            if any(made):
                raise UserError(f"{root / path} holds another version of this export; {_REMEDY}")
            for edit in changes:
                text = _replaced(text, edit, root / path)
        texts[path] = text
    return texts


_REMEDY = (
    "start from a clean clone of microsoft/Semi-supervised-learning (known: commit 1ef4cbe and the "
    "sources of semilearn 0.3.2)"
)


def _replaced(text: str, edit: Edit, path: Path) -> str:
    if (found := text.count(edit.old)) != 1:
        raise UserError(
            f"{path} is not the file that this export knows: {edit.old.strip()!r} should be there "
            f"once, and is {found} times; {_REMEDY}"
        )
    return text.replace(edit.old, edit.new)


def _read(path: Path) -> str:
    try:
        # Their line ends, whatever they are, stay.
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; --usb must be the root of a clone of "
            "microsoft/Semi-supervised-learning, the folder that holds semilearn/"
        ) from error

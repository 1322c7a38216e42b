"""Which image files a folder holds, by part and by class, and what else lies there."""

import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.data.decode import RGB, endings
from metasemi_plugin.errors import UserError

LAYOUT = "expected train/<class>/*.jpg, and test/ or val/ of the same shape"
# Those to train on first, side by side.
PARTS = ("train", "unlabeled", "val", "test")
# In train/, beside the classes: as the part "unlabeled".
UNLABELED = "_unlabeled"
OTHER_NAMES = {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
    "unlabelled": "unlabeled",
}
# What systems leave behind, and not people; as is all that begins with a dot.
_LEAVINGS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")


class Found(NamedTuple):
    """The image files of a folder.

    Attributes:
        classes: their names, sorted.
        parts: those of PARTS that there are -> files and their targets, in a fixed order; -1 are
            the targets of "unlabeled".
        left_out: ending, or name of a folder and "/" -> how many are not used.
    """

    classes: list[str]
    parts: dict[str, list[tuple[str, int]]]
    left_out: Counter[str]


def find_images(root: Path, channels: int = RGB) -> Found:
    """List every image of so many channels with its target, and count what is no image.

    Raises:
        UserError: a folder is missing, empty or has another name, or a part has a class that
            "train" lacks.
    """
    classes = class_names(root)
    left_out, kinds = _beside(root, PARTS), endings(channels)
    parts = {}
    for part in PARTS:
        folder = root / part
        if part == "unlabeled":
            folders = [f for f in (folder, root / "train" / UNLABELED) if f.is_dir()]
            if not folders:
                continue
            parts[part] = [
                (file, -1) for f in folders for file in _images_below(f, kinds, left_out)
            ]
        elif not folder.is_dir():
            continue
        else:
            used = [*classes, UNLABELED] if part == "train" else classes
            if unknown := [name for name in _folders(folder) if name not in used]:
                raise UserError(f"{part}/ has class folders that train/ has not: {some(unknown)}")
            left_out += _beside(folder, used)
            parts[part] = _by_class(folder, classes, kinds, left_out, needed=part == "train")
        if not parts[part]:
            raise UserError(f"{folder} has no images: add some or remove the folder")
    return Found(classes, parts, left_out)


def class_names(root: Path) -> list[str]:
    """The names of the folders in `root`/train but for UNLABELED, sorted.

    Raises:
        UserError: there are none, or one leads back to where it is.
    """
    if not root.is_dir():
        raise UserError(f"data_dir {root} is not a folder: {LAYOUT}")
    for name in _folders(root):
        part = OTHER_NAMES.get(name.lower(), name.lower())
        if part in PARTS and name != part:
            raise UserError(
                f"{root / name} is not used under this name: rename it to {part}, or move it out "
                f"of {root}"
            )
    train = root / "train"
    if not train.is_dir():
        others = [name for name in _folders(root) if name not in PARTS]
        hint = f"; if {some(others)} are the classes, move them into {train}" if others else ""
        raise UserError(f"{root} has no folder train/: {LAYOUT}{hint}")
    names = [name for name in _folders(train) if name != UNLABELED]
    for name in names:
        if train.resolve().is_relative_to((train / name).resolve()):
            raise UserError(f"{train / name} is a link back to a folder that it is in: remove it")
    if not names:
        raise UserError(f"{train} has no class folders: {LAYOUT}")
    return names


def labeled_images(
    root: Path, classes: Sequence[str], channels: int = RGB
) -> list[tuple[str, int]]:
    """The images of root/<class>/, or root/test/<class>/, with the places of their classes.

    Args:
        root: of class folders; some of the classes may be missing.
        classes: those that there may be.
        channels: of the images.

    Raises:
        UserError: another class, or no image.
    """
    folder = root / "test" if (root / "test").is_dir() and "test" not in classes else root
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: expected one of folders named by class")
    if unknown := [name for name in _folders(folder) if name not in classes]:
        raise UserError(
            f"{folder} has folders that are no class of the model: {some(unknown)}; its classes "
            f"are {some(classes)}: rename them or move them out"
        )
    found = _by_class(folder, classes, endings(channels), Counter(), needed=False)
    if not found:
        raise UserError(f"{folder} has no images in folders named by class, as {some(classes)}")
    return found


def in_words(left_out: Mapping[str, int]) -> str:
    """How many of which ending, most first."""
    words = [f"{n} {ending}" for ending, n in Counter(left_out).most_common()]
    if left_out.keys() & {".heic", ".heif"}:
        words.append("to read .heic, pip install pillow-heif")
    return ", ".join(words)


def some(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def images_below(folder: Path, channels: int = RGB) -> list[str]:
    """All image files of so many channels below a folder, sorted.

    Raises:
        UserError: there are none.
    """
    return _images_below(folder, endings(channels), Counter())


def _by_class(
    folder: Path,
    classes: Sequence[str],
    kinds: Container[str],
    left_out: Counter[str],
    needed: bool,
) -> list[tuple[str, int]]:
    return [
        (file, target)
        for target, name in enumerate(classes)
        for file in _images_below(folder / name, kinds, left_out, needed)
    ]


def _images_below(
    folder: Path, kinds: Container[str], left_out: Counter[str], needed: bool = True
) -> list[str]:
    """All image files, sorted; links to folders below are not followed, so there are no loops."""
    found, others = [], Counter[str]()
    for path, folders, files in os.walk(folder):
        folders[:] = _kept(folders)
        others.update("link to a folder" for name in folders if os.path.islink(f"{path}/{name}"))
        for name in _kept(files):
            if _ending(name) in kinds:
                found.append(os.path.join(path, name))
            else:
                others[_ending(name)] += 1
    if needed and not found:
        only = f" but {in_words(others)}" if others else ""
        raise UserError(f"{folder} has no images{only}: add some or remove the folder")
    left_out += others
    return sorted(found)


def _beside(folder: Path, used: Sequence[str]) -> Counter[str]:
    names = [name for name in _kept(os.listdir(folder)) if name not in used]
    return Counter(f"{n}/" if (folder / n).is_dir() else _ending(n) for n in names)


def _folders(folder: Path) -> list[str]:
    return sorted(name for name in _kept(os.listdir(folder)) if (folder / name).is_dir())


def _kept(names: Iterable[str]) -> list[str]:
    return [n for n in names if not n.startswith(".") and n.lower() not in _LEAVINGS]


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "without ending"

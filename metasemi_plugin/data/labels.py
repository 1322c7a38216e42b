"""Which images of a folder are labeled: equally many a class, all in train/, or those of a CSV."""

import csv
import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

from metasemi_plugin.data.class_folders import Found, find_images, some
from metasemi_plugin.data.decode import RGB
from metasemi_plugin.errors import UserError


def find_labeled(root: Path, labels: str, channels: int = RGB) -> Found:
    """The images of a folder, with the targets that the option `labels` says.

    Args:
        root: the folder, see `find_images`.
        labels: "equal" or "all", which change nothing here, or a CSV file: then "train" has the
            images of "unlabeled" as well, after its own, and targets are -1 but for those named.
        channels: of the images.

    Raises:
        UserError: see `find_images`; or the file has no columns "file" and "class", names an image
            that is not there, a class that is none, or one image twice with different classes, or
            leaves a class without an image.
    """
    found = find_images(root, channels)
    if labels in ("equal", "all"):
        return found
    parts = dict(found.parts)
    files = [file for file, _ in parts["train"] + parts.pop("unlabeled", [])]
    named = _named(Path(labels), root, files, found.classes)
    parts["train"] = [(file, named.get(_place(file), -1)) for file in files]
    found = found._replace(parts=parts)
    if missing := [name for name, number in count(found).items() if not number]:
        raise UserError(f"{labels}: no image is of class {some(missing)}: add one of each")
    return found


def count(found: Found) -> dict[str, int]:
    """Class -> how many images of "train" are of it."""
    targets = Counter(target for _, target in found.parts["train"])
    return {name: targets[label] for label, name in enumerate(found.classes)}


def _named(path: Path, root: Path, files: list[str], classes: list[str]) -> dict[str, int]:
    """Place of an image -> target: as the file says of it, or else of the closest folder."""
    known = {_place(file) for file in files}
    nameable = {folder for place in known for folder in _upwards(place)}
    nameable -= {*_upwards(_place(str(root)))}
    named: dict[str, int] = {}
    lines: dict[str, int] = {}
    for line, file, name in _rows(path):
        # Beside the CSV, in the data, or from where `predict` was called.
        places = [_place(str(base / file)) for base in (path.parent, root, Path()) if file]
        place = next((place for place in places if place in nameable), None)
        where = f"{path}, line {line}"
        if place is None:
            raise UserError(
                f"{where}: {file!r} is no image below {root / 'train'} or {root / 'unlabeled'}: "
                "correct the path, absolute or relative to the CSV or the data, or remove the line"
            )
        if name not in classes:
            raise UserError(
                f"{where}: {name!r} is no class of {root / 'train'}, which has {some(classes)}: "
                "correct it, or remove the line"
            )
        if named.setdefault(place, classes.index(name)) != classes.index(name):
            raise UserError(
                f"{where}: {file!r} is of class {name!r} here and of "
                f"{classes[named[place]]!r} in line {lines[place]}: remove one of them"
            )
        lines.setdefault(place, line)
    closest = {place: next(filter(named.__contains__, _upwards(place)), None) for place in known}
    return {place: named[key] for place, key in closest.items() if key is not None}


def _upwards(place: str) -> list[str]:
    """An image, and the folders that it is in, the closest first."""
    return [place, *map(str, Path(place).parents)]


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line, file and class of each row; spreadsheets may write a mark first, and semicolons."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as opened:
            head = opened.readline()
            opened.seek(0)
            reader = csv.DictReader(opened, delimiter="," if "," in head else ";")
            if not {"file", "class"} <= {*(reader.fieldnames or ())}:
                raise UserError(f"{path}, line 1: expected the columns file,class: add them")
            return [
                (reader.line_num, (row["file"] or "").strip(), (row["class"] or "").strip())
                for row in reader
            ]
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"expected equal, all, or a CSV file, but cannot read {str(path)!r} ({why}): correct it"
        ) from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file in UTF-8 ({error}): save it as one") from error


def _place(file: str) -> str:
    """One name of a file whichever links lead to its folder; a file that is a link is itself."""
    folder, name = os.path.split(file)
    return os.path.join(_real(os.path.abspath(folder)), name)


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)

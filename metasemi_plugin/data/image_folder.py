"""Your own images: one folder a class.

    data_dir/
      train/<class>/*        needed; num_labels of these images are labelled
      test/<class>/*         the same classes; to test on
      val/<class>/*          the same classes; to choose epochs and settings on
      unlabeled/**           any further images, without labels

`test/`, `val/` or `num_val` > 0 is needed to evaluate on. PNG, JPEG, BMP and WebP files of any
size and colour mode; hidden and other files are ignored. Folders may be nested below a class;
links to folders are followed only at the level of the classes and above.
"""

import argparse
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metasemi_plugin.data.cache import cached_array
from metasemi_plugin.data.decode import decode_files
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.errors import UserError
from metasemi_plugin.options import Option

OPTIONS = [
    Option(
        "flip",
        bool,
        True,
        "mirror images left and right at random; false where a mirrored image means something else",
    ),
]

LAYOUT = "expected train/<class>/*.jpg, and test/ or val/ of the same shape"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# Part of the cache's fingerprint: raise it when `decode` makes other pixels from the same files.
DECODER = 1


def build(args: argparse.Namespace, ulb_views: Mapping[str, str]) -> Splits:
    """The images below `args.data_dir`, each decoded once and resized to `args.img_size` squared.

    The shorter side is resized and the centre is cropped. Decoded images are kept in
    `data_dir/.metasemi_cache` until a file is added, removed or changed.

    Raises:
        UserError: the folder is not laid out as above, the classes are not those of
            `args.num_classes` or differ between the parts, there are too few images, or some
            cannot be read; see also `make_splits`.
    """
    root = Path(args.data_dir).expanduser()
    classes, parts = find_images(root)
    if args.num_classes != len(classes):
        raise UserError(
            f"num_classes is {args.num_classes}, but {root / 'train'} has {len(classes)} class "
            f"folders ({_some(classes)}): set num_classes to {len(classes)}"
        )
    if not args.num_val and "val" not in parts and "test" not in parts:
        raise UserError(
            f"{root} has neither test/ nor val/ to evaluate on: add one, or set num_val to hold "
            "out training images"
        )
    files = [file for listing in parts.values() for file, _ in listing]
    pixels = cached_array(
        root / ".metasemi_cache" / f"images-{args.img_size}.npz",
        fingerprint(root, files),
        lambda: decode_files(files, args.img_size),
    )
    ends = np.cumsum([len(listing) for listing in parts.values()])[:-1]
    images = {
        part: Images(block, np.array([target for _, target in listing], dtype=np.int64))
        for (part, listing), block in zip(parts.items(), np.split(pixels, ends), strict=True)
    }
    return make_splits(
        args,
        ulb_views,
        train=images["train"],
        val=images.get("val"),
        test=images.get("test"),
        unlabelled=images.get("unlabeled"),
        class_names=classes,
        flip=args.flip,
    )


def find_images(root: Path) -> tuple[list[str], dict[str, list[tuple[str, int]]]]:
    """List every image with its target, in a fixed order.

    Returns:
        The class names, sorted; and part ("train", "test", "val", "unlabeled"; only those there
        are) -> files and targets, -1 for those of "unlabeled".

    Raises:
        UserError: a folder is missing or empty, or the parts have different classes.
    """
    if not root.is_dir():
        raise UserError(f"data_dir {root} is not a folder: {LAYOUT}")
    if not (root / "train").is_dir():
        raise UserError(f"{root} has no folder train/: {LAYOUT}")
    classes = _class_names(root / "train")
    parts = {"train": _labelled_images(root / "train", classes)}
    for part in ("val", "test"):
        if (root / part).is_dir():
            _check_same_classes(part, _class_names(root / part), classes)
            parts[part] = _labelled_images(root / part, classes)
    if (root / "unlabeled").is_dir():
        parts["unlabeled"] = [(file, -1) for file in _images_below(root / "unlabeled")]
    return classes, parts


def _class_names(folder: Path) -> list[str]:
    names = sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    for name in names:
        if folder.resolve().is_relative_to((folder / name).resolve()):
            raise UserError(f"{folder / name} is a link back to a folder that it is in: remove it")
    if not names:
        raise UserError(f"{folder} has no class folders: {LAYOUT}")
    return names


def _check_same_classes(part: str, names: Sequence[str], train: Sequence[str]) -> None:
    if names == train:
        return
    only = {
        "train": [name for name in train if name not in names],
        part: [name for name in names if name not in train],
    }
    differences = [f"only {where}/ has {_some(found)}" for where, found in only.items() if found]
    raise UserError(
        f"train/ and {part}/ must have the same class folders: {', '.join(differences)}"
    )


def _labelled_images(folder: Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    return [
        (file, target)
        for target, name in enumerate(classes)
        for file in _images_below(folder / name)
    ]


def _images_below(folder: Path) -> list[str]:
    """All image files, sorted; links to folders below are not followed, so there are no loops."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(path, name)
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise UserError(
            f"{folder} has no images: add some ({', '.join(SUFFIXES)}) or remove the folder"
        )
    return sorted(found)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def fingerprint(root: Path, files: Sequence[str]) -> str:
    """A digest of the files' order, paths below `root`, sizes and times of last change."""
    digest = hashlib.sha256(f"decoder {DECODER}".encode())
    for file in files:
        try:
            status = os.stat(file)
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "unreadable"  # a broken link; decoding will name it
        digest.update(os.fsencode(file.removeprefix(str(root))) + f"\0{state}\0".encode())
    return digest.hexdigest()

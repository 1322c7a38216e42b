"""Your own images: one folder a class.

    data_dir/
      train/<class>/*        needed; num_labels of these images are labeled, or see `labels`
      test/<class>/*         of the same classes, or some of them; to test on
      val/<class>/*          the same; to choose epochs and settings on
      unlabeled/**           any further images, without labels
      train/_unlabeled/**    the same

`test/`, `val/` or `num_val` > 0 is needed to evaluate on. Every kind of file that Pillow reads, of
any size and mode, and .npy where `args.channels` is not 3; other files are counted, and named in
the log and the record, but for hidden ones and what systems leave behind. Folders may be nested
below a class; links to folders are followed only at the level of the classes and above.
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.cache import cached_images
from metasemi_plugin.data.class_folders import class_names, some
from metasemi_plugin.data.decode import RGB, decode_files
from metasemi_plugin.data.labels import count, find_labeled
from metasemi_plugin.data.notes import Notes
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.errors import UserError

# Part of the cache's fingerprint: raise it when `decode` makes other pixels from the same files.
DECODER = 2


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """The images below `args.data_dir`, each decoded once and resized to `args.img_size` squared.

    Decoded images are kept in `data_dir/.metasemi_cache` until a file is added, removed or changed.

    Raises:
        UserError: the folder is not laid out as above, the classes are not those of
            `args.num_classes`, there are too few images, or some cannot be read; see also
            `find_labeled` and `make_splits`.
    """
    root = Path(args.data_dir).expanduser()
    found = find_labeled(root, args.labels, args.channels)
    classes, parts, left_out = found
    if wrong := wrong_num_classes(args.data_dir, args.num_classes):
        raise UserError(f"num_classes: {wrong}")
    if not args.num_val and "val" not in parts and "test" not in parts:
        raise UserError(
            f"{root} has neither test/ nor val/ to evaluate on: add one, or set num_val to hold "
            "out training images"
        )
    files = [file for listing in parts.values() for file, _ in listing]
    pixels, decoded = cached_images(
        root / ".metasemi_cache" / _name(args),
        fingerprint(root, files),
        (len(files), args.img_size, args.img_size, args.channels),
        lambda images: decode_files(files, images, args.resize)._asdict(),
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
        unlabeled=images.get("unlabeled"),
        class_names=classes,
        flip=args.flip,
        notes=Notes(left_out, **decoded, labeled={} if args.labels == "equal" else count(found)),
    )


def _name(args: argparse.Namespace) -> str:
    channels = "" if args.channels == RGB else f"-{args.channels}"
    return f"images-{args.img_size}-{args.resize}{channels}.bin"


def wrong_num_classes(data_dir: str, num_classes: int) -> str | None:
    """What to say where `data_dir` has class folders, but not `num_classes` of them."""
    root = Path(data_dir).expanduser()
    try:
        classes = class_names(root)
    except (UserError, OSError):
        return None
    if len(classes) == num_classes:
        return None
    return (
        f"{num_classes}, but {root / 'train'} has {len(classes)} class folders ({some(classes)}): "
        f"set it to {len(classes)}"
    )


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

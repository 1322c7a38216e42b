"""Classes of images: ``python -m metasemi_plugin predict RUN IMAGES... --csv out.csv``."""

import argparse
import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.cli.words import at_least_1
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files

UNSURE = "_unsure"


class Row(NamedTuple):
    """A file, and its most probable classes with their probabilities, most probable first."""

    file: str
    ranked: list[tuple[str, float]]


def main(argv: Sequence[str]) -> int:
    """Predict, write what is asked for, and say how many there are of each class.

    Returns:
        1 if some files could not be read: they are named at the end.

    Raises:
        UserError: there is no model or no image, or a file is in the way.
    """
    arguments = _parser().parse_args(argv)
    from tqdm import tqdm

    from metasemi_plugin.model.page import page
    from metasemi_plugin.model.predictor import files_of, load

    predictor = load(arguments.run, arguments.device)
    paths = files_of(arguments.images, predictor.description.channels)
    rows: list[Row] = []
    unreadable: list[tuple[str, str]] = []
    top = min(arguments.top, len(predictor.classes))
    with tqdm(total=len(paths), unit=" images", disable=None) as bar:
        for batch in predictor.batches(paths, arguments.batch_size):
            probabilities, places = batch.probabilities.topk(top, dim=1)
            for file, shares, which in zip(
                batch.files, probabilities.tolist(), places.tolist(), strict=True
            ):
                names = [predictor.classes[i] for i in which]
                rows.append(Row(file, list(zip(names, shares, strict=True))))
            unreadable += batch.unreadable
            bar.update(len(batch.files) + len(batch.unreadable))
    if arguments.move_below is not None:
        rows = _moved(rows, arguments.move_below)
    if arguments.csv:
        files.replace(arguments.csv, table(rows, top).encode())
    if arguments.page:
        files.replace(arguments.page, page(rows, predictor.classes, str(arguments.run)).encode())
    _say(rows, unreadable, arguments)
    return 1 if unreadable else 0


def table(rows: Sequence[Row], top: int) -> str:
    """CSV: file, class, confidence, and the next most probable classes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    next_ones = [w for i in range(2, top + 1) for w in (f"class_{i}", f"confidence_{i}")]
    writer.writerow(["file", "class", "confidence", *next_ones])
    for row in rows:
        writer.writerow([row.file, *(c for n, p in row.ranked for c in (n, f"{p:.6f}"))])
    return text.getvalue()


def _moved(rows: Sequence[Row], least: float) -> list[Row]:
    """The rows, with files of less confidence in a folder of their own beside where they were.

    Raises:
        UserError: a file of that name is there already; nothing has been moved.
    """
    targets = {
        row.file: Path(row.file).parent / UNSURE / Path(row.file).name
        for row in rows
        if row.ranked[0][1] < least and Path(row.file).parent.name != UNSURE
    }
    if taken := [path for path in targets.values() if path.exists()]:
        raise UserError(f"--move-below: {taken[0]} is there already: nothing has been moved")
    for file, path in targets.items():
        path.parent.mkdir(exist_ok=True)
        os.rename(file, path)
    return [row._replace(file=str(targets.get(row.file, row.file))) for row in rows]


def _say(rows, unreadable, arguments) -> None:
    counts = Counter(row.ranked[0][0] for row in rows)
    for name, number in counts.most_common():
        print(f"{number:8}  {name}")
    if arguments.move_below is not None:
        moved = sum(row.ranked[0][1] < arguments.move_below for row in rows)
        print(f"{moved} images of confidence below {arguments.move_below:g} are in {UNSURE}/ now")
    for made in (arguments.csv, arguments.page):
        if made:
            print(made)
    if unreadable:
        print(f"{len(unreadable)} files could not be read:", file=sys.stderr)
        for file, why in unreadable:
            print(f"  {file}: {why}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin predict",
        description="Classes of images, by the model that a training has left in its run folder.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a model folder")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files, or folders of them")
    parser.add_argument("--csv", type=Path, metavar="FILE",
                        help="file, class, confidence and the next classes of each image; with "
                        "corrected classes it can be given back as labels")  # fmt: skip
    parser.add_argument("--top", type=at_least_1, default=3, metavar="N",
                        help="classes of each image in the CSV (default: %(default)s)")  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="FILE",
                        help="one HTML page of all images, the most doubtful first, to correct and "
                        "save as labels")  # fmt: skip
    parser.add_argument("--move-below", type=_share, metavar="P",
                        help=f"move images of less confidence into a folder {UNSURE}/ beside "
                        "them")  # fmt: skip
    parser.add_argument("--batch-size", type=at_least_1, default=128, metavar="N",
                        help="images a pass (default: %(default)s)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be in 0..1, not {text}")
    return share

"""How good the model of a run is: ``python -m metasemi_plugin evaluate RUN``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files
from metasemi_plugin.run_folder.layout import CONFIG, EVALUATION

SHOWN = 20


def main(argv: Sequence[str]) -> int:
    """Score the model, write tables and pictures, and print the gist.

    Raises:
        UserError: no model, no images, or nowhere to write.
    """
    arguments = _parser().parse_args(argv)
    from metasemi_plugin.experiments.evaluate import images, pictures, scores
    from metasemi_plugin.model.predictor import load

    predictor = load(arguments.run, arguments.device)
    out = arguments.out or _within(arguments.run)
    if arguments.data_dir is None:
        name, answers = images.on_own(arguments.run, predictor)
        recorded = predictor.description.run["errors"].get(name)
    else:
        name, answers = str(arguments.data_dir), images.on_folders(arguments.data_dir, predictor)
        recorded = None
    classes = predictor.classes
    table, lines = scores.confusion(answers, classes), scores.per_class(answers, classes)
    bins, curve = scores.calibration(answers), scores.by_confidence(answers)
    found = {
        "model": str(arguments.run),
        "iteration": predictor.description.run["iteration"],
        "images_of": name,
        **scores.summary(answers, classes),
        "recorded_error": recorded,
    }
    made = {
        "confusion.csv": table.to_csv(lineterminator="\n").encode(),
        "per_class.csv": lines.to_csv(lineterminator="\n").encode(),
        "calibration.csv": bins.to_csv(index=False, lineterminator="\n").encode(),
        "error_by_confidence.csv": curve.to_csv(index=False, lineterminator="\n").encode(),
        "confusion.png": pictures.confusion(table),
        "reliability.png": pictures.reliability(bins),
        "error_by_confidence.png": pictures.error_by_confidence(curve),
        "evaluation.json": f"{json.dumps(found, indent=2)}\n".encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, content in made.items():
            files.replace(out / file, content)
    except OSError as error:
        raise UserError(
            f"cannot write to {out} ({error.strerror or error}): --out DIR takes another folder"
        ) from error
    _say(found, lines, curve)
    print(f"tables and pictures: {out}")
    return 0


def _within(run: Path) -> Path:
    if not (run / CONFIG).exists():
        raise UserError(f"{run} is a model by itself: say with --out DIR where to write")
    return run / EVALUATION


def _say(found, lines, curve) -> None:
    from metasemi_plugin.markdown_table import markdown_table

    print(
        f"{found['images']} images of {found['images_of']}: error {found['error']:.2f} %\n"
        f"mean confidence {100 * found['confidence']:.2f} %, expected calibration error "
        f"{found['calibration_error']:.2f} %\n"
        + "".join(
            f"error of the most confident {share:.0%}: {at['error'].iloc[-1]:.2f} %\n"
            for share in (0.5, 0.8, 0.9)
            if len(at := curve[curve["share"] <= share])
        )
    )
    worst = lines.sort_values("f1")[:SHOWN]
    rows = [
        (name, str(int(images)), *(f"{100 * share:.1f}" for share in shares))
        for name, images, *shares in worst.itertuples()
    ]
    print(markdown_table(("class", "images", "precision, %", "recall, %", "F1, %"), rows))
    if len(worst) < len(lines):
        print(f"{len(worst)} of {len(lines)} classes, the lowest F1 first; per_class.csv has all")
    recorded = found["recorded_error"]
    if recorded not in (None, found["error"]):
        print(
            f"the run recorded {recorded:.2f} %: the data, the device or the versions are not "
            "those of its training"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin evaluate",
        description="Error, precision, recall, confusion and calibration of the model of a run, on "
        "its test images, or its validation images where it has no others.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a model folder")
    parser.add_argument("--data_dir", "--data-dir", type=Path, metavar="DIR",
                        help="other images, in DIR/<class>/ or DIR/test/<class>/")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help=f"where to write (default: RUN/{EVALUATION})")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    return parser

"""How well the model of a run does: ``python -m metasemi_plugin evaluate RUN``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.cli.words import at_least_1
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder.layout import CONFIG, EVALUATION


def main(argv: Sequence[str]) -> int:
    """Evaluate, write the files, and print what they say.

    Raises:
        UserError: there is no model, there are no images, or the files cannot be written.
    """
    arguments = _parser().parse_args(argv)
    from metasemi_plugin.experiments.evaluate.answers import answers
    from metasemi_plugin.experiments.evaluate.measures import measure
    from metasemi_plugin.experiments.evaluate.write import text, write
    from metasemi_plugin.model.predictor import load

    run = arguments.run
    out = arguments.out or (run / EVALUATION if (run / CONFIG).exists() else None)
    predictor = load(run, arguments.device)
    if out is None:
        raise UserError(f"{run} is a model folder, into which nothing is written: add --out DIR")
    given = answers(predictor, run, arguments.data_dir, arguments.batch_size)
    found = measure(given.targets, given.probabilities, predictor.classes)
    try:
        write(found, given.on, out)
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror or error}): add --out DIR with "
                        "another folder") from error  # fmt: skip
    print(text(found, given.on))
    if given.recorded not in (None, found.error):
        print(f"the run has recorded {given.recorded:.2f} %: the images, the device or the "
              "versions are not those that it had")  # fmt: skip
    print(out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin evaluate",
        description="Error, precision and recall by class, confusion and calibration of the model "
        "of a run, on its test images, or on validation images where it has no others.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN",
                        help="a run folder; with --data_dir and --out also a model "
                        "folder")  # fmt: skip
    parser.add_argument("--data_dir", "--data-dir", type=Path, metavar="DIR",
                        help="other images: DIR/<class>/* or DIR/test/<class>/*; or where the data "
                        "set of the run is now")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help=f"default: the folder {EVALUATION}/ of the run")  # fmt: skip
    parser.add_argument("--batch-size", type=at_least_1, default=128, metavar="N",
                        help="images a pass, of class folders (default: %(default)s)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    return parser

"""A model for other programs: ``python -m metasemi_plugin export RUN --format onnx``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.errors import UserError

ENDINGS = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}


def main(argv: Sequence[str]) -> int:
    """Write the file and what is said beside it, and print their names.

    Raises:
        UserError: there is no model, `--out` lies in the run folder, or see `model.export.export`.
    """
    arguments = _parser().parse_args(argv)
    from metasemi_plugin.model.export import export
    from metasemi_plugin.model.predictor import load

    run = arguments.run.resolve()
    out = arguments.out or Path(f"{run.name}{ENDINGS[arguments.format]}")
    if out.resolve().is_relative_to(run):
        raise UserError(f"--out {out} lies in {arguments.run}, where only a run writes: choose "
                        "another place")  # fmt: skip
    difference = export(load(arguments.run), arguments.format, out)
    print(f"{out}\n{out}.json\nlogits differ from the net's by {difference:.1e} at most")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin export",
        description="The model of a run as one file for other programs, checked against the net.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a model folder")
    parser.add_argument("--format", required=True, choices=ENDINGS)
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="default: the name of RUN, in the working directory")  # fmt: skip
    return parser

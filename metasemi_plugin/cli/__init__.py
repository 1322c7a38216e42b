"""``python -m metasemi_plugin COMMAND ...``: a command is a module of this package."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from metasemi_plugin.errors import UserError

# The module's main(argv) returns the exit status. Loaded when it is called.
COMMANDS = {
    "train": "Train one run: what train.py does.",
    "ls": "List what there is: ls algorithms, backbones, datasets, configs or runs [DIR].",
    "validate": "Check suites and say what they will take: validate SUITE...",
    "bench": "Time a training step and its rivals.",
    "compare": "Make the runs of a suite that are missing: compare SUITE_OR_CONFIGS...",
    "tune": "Choose beta by cross-validation on the labeled images: tune --c CONFIG",
    "report": "Tables, pictures and a page of records: report SUITE_OR_RUN_FOLDERS...",
    "predict": "Classes of images, by the model of a run: predict RUN IMAGES...",
    "evaluate": "Error, confusion and calibration of the model of a run: evaluate RUN",
    "export": "The model of a run for other programs: export RUN --format onnx",
    "inspect": "What trained nets fit, and what their mask selects by: inspect RUN_FOLDERS",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 after one line on what was wrong.

    Options without a command are those of `train`.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0].startswith("--") and argv[0] != "--help":
        argv = ["train", *argv]
    parser = argparse.ArgumentParser(prog="python -m metasemi_plugin")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, description in COMMANDS.items():
        commands.add_parser(name, help=description, add_help=False)
    # What follows the name is the command's own to read.
    name = parser.parse_args(argv[:1]).command
    try:
        status = importlib.import_module(f"metasemi_plugin.cli.{name}").main(list(argv[1:]))
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        try:
            print(flush=True)  # whether it is this pipe
        except BrokenPipeError:
            # Who read the output has seen enough (`| head`); what is left is flushed to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        raise

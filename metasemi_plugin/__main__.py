"""``python -m metasemi_plugin COMMAND ...``."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from metasemi_plugin.errors import UserError

# Name -> module whose main(argv) returns the exit status, and help. Loaded when it is called.
COMMANDS = {
    "train": ("cli", "Train one run: what train.py does."),
    "ls": ("listing", "List what there is: ls algorithms, backbones, datasets or configs."),
    "validate": (
        "experiments.validate",
        "Check suites and say what they will take: validate SUITE...",
    ),
    "bench": ("bench.command", "Time a training step and its rivals."),
    "compare": (
        "experiments.compare",
        "Make the runs of a suite that are missing: compare SUITE_OR_CONFIGS...",
    ),
    "tune": (
        "experiments.tune",
        "Choose beta by cross-validation on the labelled images: tune --c CONFIG",
    ),
    "report": (
        "experiments.report.command",
        "Tables, pictures and a page of records: report SUITE_OR_RUN_FOLDERS...",
    ),
    "masks": (
        "experiments.masks",
        "Whether the mask tells right pseudo labels from wrong: masks RUN_FOLDER",
    ),
    "fit": (
        "experiments.fit",
        "Errors of trained nets on their labelled and on test images: fit RUN_FOLDERS",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 after one line on what was wrong."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m metasemi_plugin")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, description) in COMMANDS.items():
        commands.add_parser(name, help=description, add_help=False)
    # What follows the name is the command's own to read.
    module, _ = COMMANDS[parser.parse_args(argv[:1]).command]
    try:
        return importlib.import_module(f"metasemi_plugin.{module}").main(list(argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""Choose beta by cross-validation on the labeled images alone, as the paper does (Appendix D):
``python -m metasemi_plugin tune --c CONFIG --betas 0.2 0.4 --folds 4``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.cli.words import at_least_1, parse
from metasemi_plugin.errors import INTERRUPTED
from metasemi_plugin.experiments.executors import Processes
from metasemi_plugin.experiments.tune import suite_of_folds, tune

BETAS = (0.2, 0.4, 0.6, 0.8, 1.0)


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status: 1 if a fold failed.

    Raises:
        UserError: the configuration is wrong or has no beta, or something is in the way of a run.
    """
    known, others = _parser().parse_known_args(argv)
    name = known.name or f"tune_{known.c.parent.name}_{known.c.stem}"
    suite = suite_of_folds(known.c, known.betas, known.folds, name, parse(others))
    try:
        found = tune(suite, Processes(known.jobs), known.jobs, known.overwrite)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0 if found else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin tune",
        description="Choose mixup_beta by cross-validation on the labeled images alone.",
        epilog="Any option of a run may be given as --key value; it holds for all runs.",
        allow_abbrev=False,
    )
    parser.add_argument("--c", type=Path, required=True, metavar="CONFIG", help="of a run")
    parser.add_argument("--betas", nargs="+", type=float, default=list(BETAS), metavar="BETA",
                        help="to choose from (default: %(default)s)")  # fmt: skip
    parser.add_argument("--folds", type=int, default=4, help="default: 4")
    parser.add_argument("--jobs", type=at_least_1, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--name", help="the runs go to saved_models/NAME; default: tune_CONFIG")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace runs that were made with other settings")  # fmt: skip
    return parser

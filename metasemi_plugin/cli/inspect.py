"""Look into trained nets: ``python -m metasemi_plugin inspect RUN_FOLDERS``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import metasemi_plugin
from metasemi_plugin.cli.words import at_least_1, count
from metasemi_plugin.experiments.inspect import fit, masks


def main(argv: Sequence[str]) -> int:
    """Print how well each net fits its labels, and what each mask tells right from wrong by.

    Raises:
        UserError: no such run, or no such checkpoint.
    """
    arguments = _parser().parse_args(argv)
    metasemi_plugin.register()
    from metasemi_plugin.host.loaded import loaded

    fits: dict[str, Sequence[fit.Fit]] = {}
    below = []
    for folder in arguments.runs:
        algorithm = loaded(folder, arguments.checkpoint)
        name = folder.as_posix()
        fits[f"{name}{' (on validation images)' * fit.on_validation(algorithm)}"] = fit.of(
            algorithm
        )
        if arguments.batches:
            if why := masks.obstacle(algorithm):
                below.append(f"{name}: {why}")
                continue
            sizes = arguments.labeled or [algorithm.args.batch_size, algorithm.args.num_labels]
            verdicts = masks.judge(algorithm, sizes, arguments.batches)
            below.append(f"The mask of {name}:\n\n{masks.table(verdicts)}")
    print("\n\n".join([fit.table(fits), *below]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin inspect",
        description="Errors of trained nets on their labeled and on test images; and, of runs of "
        "metasemi, whether the mask tells right pseudo labels from wrong.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--checkpoint", default="latest_model.pth", help="default: %(default)s")
    parser.add_argument("--labeled", nargs="+", type=at_least_1, metavar="N",
                        help="images that judge the mask (default: a batch, all)")  # fmt: skip
    parser.add_argument("--batches", type=count, default=40,
                        help="of unlabeled images that the mask judges; 0: none "
                        "(default: %(default)s)")  # fmt: skip
    return parser

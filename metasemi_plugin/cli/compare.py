"""Make what is missing of a suite: ``python -m metasemi_plugin compare SUITE_OR_CONFIGS...``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.cli.words import at_least_1, parse
from metasemi_plugin.errors import INTERRUPTED, UserError
from metasemi_plugin.experiments.compare import make, suite_of
from metasemi_plugin.experiments.executors import Executor, Processes
from metasemi_plugin.experiments.plan import next_step
from metasemi_plugin.experiments.suite import Suite


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status: 1 if a run failed.

    Raises:
        UserError: the suite is wrong, or something is in the way of its runs.
    """
    known, others = _parser().parse_known_args(argv)
    options = parse(others)
    of_slurm = {key: options.pop(key) for key in list(options) if key.startswith("slurm_")}
    if of_slurm and not known.executor:
        first = next(iter(of_slurm)).replace("_", "-")
        raise UserError(f"--{first}: needs --executor slurm")
    suite = suite_of(known.what, known.seeds, known.name, options)
    if known.dry_run:
        return dry_run(suite, known.overwrite)
    jobs = known.jobs or (len(suite.runs) if known.executor == "slurm" else 1)
    executor = _executor(known.executor, jobs, of_slurm)
    try:
        failures = make(suite, executor, jobs, known.overwrite)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 1 if failures else 0


def _executor(kind: str | None, jobs: int, of_slurm: dict[str, str]) -> Executor:
    if kind is None:
        return Processes(jobs)
    from metasemi_plugin.experiments.cluster import Jobs

    return Jobs(kind, {key.removeprefix("slurm_"): value for key, value in of_slurm.items()})


def dry_run(suite: Suite, overwrite: bool) -> int:
    """List the runs and what would be done for them; returns the exit status."""
    steps = [next_step(run, overwrite) for run in suite.runs]
    width = max(len(step.what) for step in steps)
    for run, step in zip(suite.runs, steps, strict=True):
        length = f"{run.args.num_train_iter} iterations"
        why = f" ({step.why})" if step.why else ""
        print(f"{step.what:{width}}  {run}, {length}: {run.folder}{why}")
    todo = sum(step.what != "done" for step in steps)
    print(f"{suite.name}: {len(steps)} runs, {len(steps) - todo} complete, {todo} to make")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin compare",
        description="Make the runs of a suite that are missing, go on with those that were cut "
        "off, and leave those that are complete.",
        epilog="Any option of a run may be given as --key value; it holds for all runs.",
        allow_abbrev=False,
    )
    parser.add_argument("what", nargs="+", metavar="SUITE_OR_CONFIG", type=Path,
                        help="a file of config/suites, or configurations of runs")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, help="default: the suite's, or 0 1 2")
    parser.add_argument("--jobs", type=at_least_1,
                        help="runs at a time (default: 1; with --executor slurm: all)")  # fmt: skip
    parser.add_argument("--name", help="the runs go to saved_models/NAME")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, and make none")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace runs that were made with other settings")  # fmt: skip
    parser.add_argument("--executor", choices=("local", "slurm"),
                        help="make the runs jobs of Slurm, with --slurm-partition NAME, "
                        "--slurm-time MINUTES, --slurm-gpus N, --slurm-cpus N, --slurm-mem GB and "
                        "any other option of sbatch that submitit knows; local: the same here, "
                        "without Slurm")  # fmt: skip
    return parser

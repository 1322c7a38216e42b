"""What suites will take: ``python -m metasemi_plugin validate SUITE...``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.experiments.suite import load_suite
from metasemi_plugin.experiments.validate import describe, read_measured


def main(argv: Sequence[str]) -> int:
    """Check suites and say what they will take.

    Raises:
        UserError: a suite cannot run as it is.
    """
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin validate",
        description="Checks suites: lists their runs with estimates of time and disk. Starts none.",
    )
    parser.add_argument("suites", nargs="+", metavar="SUITE", help="a file of config/suites")
    suites = [load_suite(path) for path in parser.parse_args(argv).suites]
    roots = (Path(), Path(__file__).parents[2])
    folders = [root / "benchmark_results" / "step" for root in roots]
    measured = read_measured(next((folder for folder in folders if folder.is_dir()), folders[0]))
    for suite in suites:
        for line in describe(suite, measured):
            print(line)
        print()
    machine = measured.machine or "not known, as there is no benchmark_results/step here"
    print(
        "All numbers are of all runs of a row. Hours: training alone, in fp32; tiny nets take "
        f"longer.\nCPU: {machine}. Disk: three checkpoints a run."
    )
    return 0

"""Make what is missing of a suite."""

import os
from collections.abc import Sequence

from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.execute import Failure, execute
from metasemi_plugin.experiments.executors import Executor, Processes
from metasemi_plugin.experiments.plan import next_step, refuse
from metasemi_plugin.experiments.records import Record, read
from metasemi_plugin.experiments.suite import Suite, is_suite, load_suite, suite_of_configs


def compare(
    what: str | os.PathLike | Sequence[str | os.PathLike],
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    name: str | None = None,
    overwrite: bool = False,
    **options,
) -> list[Record]:
    """Make what is missing of a suite, and return the records of all its runs.

    Args:
        what: a suite's file, or configurations to set side by side.
        seeds: of each of them; None: those of the suite's file, or 0, 1 and 2.
        jobs: how many processes at a time.
        name: the runs go to ``saved_models/NAME``; None: the name of the suite's file.
        overwrite: replace runs that were made with other settings.
        **options: of every run.

    Raises:
        UserError: the suite is wrong, or something is in the way of its runs.
    """
    paths = [what] if isinstance(what, str | os.PathLike) else list(what)
    suite = suite_of(paths, seeds, name, options)
    make(suite, Processes(jobs), jobs, overwrite)
    return [read(run.folder) for run in suite.runs]


def suite_of(
    paths: Sequence[str | os.PathLike],
    seeds: Sequence[int] | None,
    name: str | None,
    options: dict,
) -> Suite:
    """The suite that one file describes, or that configurations make up.

    Raises:
        UserError: it is wrong, or several suites are named.
    """
    if name is not None:
        options = {"save_dir": f"saved_models/{name}", **options}
    suites = [path for path in paths if is_suite(path)]
    if not suites:
        return suite_of_configs(paths, name or "compare", seeds, options)
    if len(paths) > 1:
        raise UserError(f"{suites[0]} is a suite: name it alone, or configurations of runs only")
    suite = load_suite(paths[0], seeds, options)
    return suite if name is None else suite._replace(name=name)


def make(
    suite: Suite, executor: Executor, jobs: int, overwrite: bool = False, every: float = 0.5
) -> list[Failure]:
    """Make the runs that are missing, and say what came of it; returns those that failed.

    Raises:
        UserError: something is in the way of a run; nothing has been started then.
        KeyboardInterrupt: all runs under way have been stopped.
    """
    steps = [next_step(run, overwrite) for run in suite.runs]
    refuse(steps)
    for run, step in zip(suite.runs, steps, strict=True):
        if step.why:
            print(f"{step.what}: {run}: {step.why}", flush=True)
    missing = sum(step.what != "done" for step in steps)
    if not missing:
        print(f"{suite.name}: all {len(steps)} runs are complete; nothing to do")
        return []
    failures = execute(suite.runs, executor, jobs, overwrite, every)
    print(f"{suite.name}: {len(steps) - len(failures)} of {len(steps)} runs are complete")
    for failure in failures:
        print(f"failed: {failure.run}: {failure.why}\n  log: {failure.log}")
    return failures

"""The command line: ``train.py --c FILE [--key value ...]``."""

import sys
from collections.abc import Callable

from tqdm import tqdm

from metasemi_plugin import train
from metasemi_plugin.errors import Interrupted, UserError

USAGE = """\
usage: train.py --c FILE [--key value ...] [--resume | --overwrite]

Trains the run that FILE describes, e.g. config/metasemi/digits_40.yaml. Any option of the file may
be given as --key value; the command line wins over the file, the file over the defaults.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 after one line on what was wrong."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or {"-h", "--help"} & set(argv):
        print(USAGE, end="")
        return 0
    try:
        options = parse(argv)
        config = options.pop("c", None)
        print(report(train(config, **options)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stopped:
        print(stopped)
    except KeyboardInterrupt:
        print("stopped; what has been saved goes on with --resume", file=sys.stderr)
        return 130
    return 0


def parse(argv: list[str]) -> dict[str, str]:
    """``--key value``, ``--key=value`` and ``--flag`` (true) as a dict.

    Raises:
        UserError: a word that belongs to no option.
    """
    options: dict[str, str] = {}
    words = iter(argv)
    key = None
    for word in words:
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            options[key] = value if equals else "true"
            key = None if equals else key
        elif key is not None:
            options[key], key = word, None
        else:
            raise UserError(f"{word!r} belongs to no option; write --key value")
    return options


def report(summary: dict) -> str:
    """The summary of a run for people."""
    s = summary
    validation = ""
    if s["chosen_on"] == "validation":
        validation = (
            f"validation error: last {s['last_validation_error']:.2f} %, "
            f"best {s['best_validation_error']:.2f} %\n"
        )
    return (
        f"\n{s['algorithm']} on {s['dataset']}, {s['num_labels']} labels, seed {s['seed']}: "
        f"{s['iterations']} iterations in {tqdm.format_interval(s['seconds'])}\n"
        f"{validation}"
        f"test error: last {s['last_error']:.2f} %, "
        f"median of the last 20 evaluations {s['median_last_20_error']:.2f} %, "
        f"best {s['best_error']:.2f} % "
        f"(chosen on {s['chosen_on']}, iteration {s['best_iteration']})\n"
        f"run folder: {s['folder']}\n"
        f"curves: tensorboard --logdir {s['folder']}"
    )


def train_command(argv: list[str]) -> int:
    """Train one run: what train.py does."""
    return main(argv)


def bench_command(argv: list[str]) -> int:
    """Time a training step and its rivals."""
    from metasemi_plugin.bench.command import main as bench

    return bench(argv)


def ls_command(argv: list[str]) -> int:
    """List what there is: ls algorithms, backbones, datasets or configs."""
    from metasemi_plugin.listing import ls

    return ls(argv)


def compare_command(argv: list[str]) -> int:
    """Make the runs of a suite that are missing: compare SUITE_OR_CONFIGS..."""
    from metasemi_plugin.experiments.compare import main as compare

    return compare(argv)


def tune_command(argv: list[str]) -> int:
    """Choose beta by cross-validation on the labelled images: tune --c CONFIG"""
    from metasemi_plugin.experiments.tune import main as tune

    return tune(argv)


def report_command(argv: list[str]) -> int:
    """Tables, pictures and a page of records: report SUITE_OR_RUN_FOLDERS..."""
    from metasemi_plugin.experiments.report.command import main as report

    return report(argv)


def validate_command(argv: list[str]) -> int:
    """Check suites and say what they will take: validate SUITE..."""
    from metasemi_plugin.experiments.validate import main as validate

    return validate(argv)


def export_upstream_command(argv: list[str]) -> int:
    """Write Meta-Semi, or a fix, into a clone of USB's repository."""
    from metasemi_plugin.upstream.command import main as export_upstream

    return export_upstream(argv)


# python -m metasemi_plugin NAME ...: function(argv) -> exit status; its docstring is the help.
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train_command,
    "ls": ls_command,
    "validate": validate_command,
    "bench": bench_command,
    "compare": compare_command,
    "tune": tune_command,
    "report": report_command,
    "export-upstream": export_upstream_command,
}

"""The command line: ``train.py --c FILE [--key value ...]``."""

import sys

from tqdm import tqdm

from metasemi_plugin import train
from metasemi_plugin.cli.words import parse
from metasemi_plugin.config.option import Flag
from metasemi_plugin.errors import INTERRUPTED, Interrupted, UserError

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
    from metasemi_plugin.distributed.process_group import speaks

    try:
        options = parse(argv)
        config = options.pop("c", None)
        if isinstance(config, Flag):
            raise UserError("--c: expected a file, got nothing")
        summary = train(config, **options)
        if speaks():
            print(report(summary))
    except UserError as error:
        if speaks(error):
            print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stopped:
        if speaks():
            print(stopped)
    except KeyboardInterrupt:
        print("stopped; what has been saved goes on with --resume", file=sys.stderr)
        return INTERRUPTED
    return 0


def report(summary: dict) -> str:
    """The summary of a run for people."""
    s = summary
    chosen = f"(chosen on {s['chosen_on']}, iteration {s['best_iteration']})"
    errors = "".join(
        f"{name} error: last {s[f'last{of}']:.2f} %, "
        f"median of the last 20 evaluations {s[f'median_last_20{of}']:.2f} %, "
        f"best {s[f'best{of}']:.2f} % {chosen}\n"
        for name, of in (("validation", "_validation_error"), ("test", "_error"))
        if s[f"last{of}"] is not None
    )
    bad = f"bad steps: {s['bad_steps']}, whose loss or gradient was not finite: undone\n"
    return (
        f"\n{s['algorithm']} on {s['dataset']}, {s['num_labels']} labels, seed {s['seed']}: "
        f"{s['iterations']} iterations in {tqdm.format_interval(s['seconds'])}\n"
        f"{errors}{bad if s['bad_steps'] else ''}"
        f"run folder: {s['folder']}\n"
        f"curves: tensorboard --logdir {s['folder']}"
    )

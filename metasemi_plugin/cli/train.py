"""The command line: ``train.py --c FILE [--key value ...]``."""

import sys
from pathlib import Path

from tqdm import tqdm

from metasemi_plugin import train
from metasemi_plugin.cli.words import parse
from metasemi_plugin.config import help
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.names import more_are_known, wrong_names
from metasemi_plugin.config.option import Flag
from metasemi_plugin.config.resolve import resolve
from metasemi_plugin.config.values import unknown
from metasemi_plugin.distributed.torchrun import in_torchrun, speaks
from metasemi_plugin.errors import INTERRUPTED, Interrupted, UserError
from metasemi_plugin.run_folder.claim import free
from metasemi_plugin.run_folder.extension import restarts_of

USAGE = """\
usage: train.py --c FILE [--key value ...] [--resume [--extend] | --overwrite]
       train.py --help [ALGORITHM]

Trains the run that FILE describes, e.g. config/metasemi/digits_40.yaml. Any option of the file may
be given as --key value; the command line wins over the file, the file over the defaults, which are
shown here.

"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 after one line on what was wrong."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if not argv or {"-h", "--help"} & set(argv):
            print(usage([word for word in argv if not word.startswith("-")]), end="")
            return 0
        options = parse(argv)
        config = options.pop("c", None)
        if isinstance(config, Flag):
            raise UserError("--c: expected a file, got nothing")
        look_first(config, options)
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


def usage(words: list[str]) -> str:
    """The options of all algorithms, or of the one that is named.

    Raises:
        UserError: there is no such algorithm.
    """
    if not words:
        return USAGE + help.text()
    if words[0] not in ALGORITHMS:
        raise UserError(f"--help: {unknown(words[0], sorted(ALGORITHMS))}")
    return help.text(words[0])


def look_first(config: str | None, options: dict) -> None:
    """Find what is wrong with the files, the words and the run folder before torch is imported.

    Raises:
        UserError: see `metasemi_plugin.train`, which looks again.
    """
    if more_are_known() or in_torchrun():
        return  # and nothing is gained
    args = resolve(config, options, wrong_names)
    folder = Path(args.save_dir) / args.save_name
    free(folder, args)
    restarts_of(folder, args)


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

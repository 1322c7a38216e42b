"""``python -m metasemi_plugin COMMAND ...``: the commands of :mod:`metasemi_plugin.cli`."""

import argparse
import sys
from collections.abc import Sequence

from metasemi_plugin.cli import COMMANDS
from metasemi_plugin.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 after one line on what was wrong."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m metasemi_plugin")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0], add_help=False)
    # What follows the name is the command's own to read.
    name = parser.parse_args(argv[:1]).command
    try:
        return COMMANDS[name](list(argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

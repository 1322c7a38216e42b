"""The command line: ``python -m metasemi_plugin export-upstream --usb PATH``."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.files import replace


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status, 1 if --check finds the tree out of date.

    Raises:
        UserError: the tree is not one that the export knows, or a tool is missing.
    """
    if missing := [name for name in ("libcst", "ruff") if not importlib.util.find_spec(name)]:
        raise UserError(f"export-upstream needs {' and '.join(missing)}: pip install -e '.[dev]'")
    from metasemi_plugin.upstream.fixes import FIXES, fix
    from metasemi_plugin.upstream.tree import algorithm

    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin export-upstream",
        description="Write Meta-Semi, or a fix, into microsoft/Semi-supervised-learning.",
    )
    parser.add_argument("--usb", type=Path, required=True, metavar="PATH",
                        help="root of the clone, the folder that holds semilearn/")  # fmt: skip
    parser.add_argument("--fix", choices=FIXES, help="mend this fault instead, a change by itself")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; status 1 if the clone is not up to date")  # fmt: skip
    arguments = parser.parse_args(argv)
    root = arguments.usb
    files = fix(root, arguments.fix) if arguments.fix else algorithm(root)
    stale = [path for path, text in sorted(files.items()) if _current(root / path) != text]
    for path in stale:
        if not arguments.check:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            replace(root / path, files[path].encode())
        print(f"{'out of date' if arguments.check else 'wrote'}: {path}")
    if not stale:
        print(f"{root} is up to date")
    return int(arguments.check and bool(stale))


def _current(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8") if path.is_file() else None

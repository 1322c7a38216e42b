"""Lay a pull request into a clone of USB: ``python docs/upstream/apply.py CLONE [NAME]``.

A pull request is a folder beside this file, its new files as they are to lie in the clone, and a
patch of the files that it changes. It goes in whole or not at all; a second time nothing is left to
do.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(patch.stem for patch in HERE.glob("*.patch"))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 after one line on what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":")[0] + ".")
    parser.add_argument("clone", type=Path, metavar="CLONE", help="the folder that has semilearn/")
    parser.add_argument("name", nargs="?", choices=NAMES, default="metasemi",
                        help="of the pull request (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        lines = lay(arguments.clone, arguments.name)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines or [f"{arguments.clone} has it already"]))
    return 0


def lay(clone: Path, name: str) -> list[str]:
    """Returns what was done, a line each; nothing if it had been done.

    Raises:
        ValueError: not a tree that the pull request was made for, or one that holds something
            else in its place; the tree is as it was.
    """
    files = new_files(name)
    other = [p for p, text in files.items() if (clone / p).exists() and _read(clone / p) != text]
    if other:
        raise ValueError(f"{clone / other[0]} is there and differs; {_REMEDY}")
    patched = _git_apply(clone, name, "--reverse", "--check") is None
    if not patched and (problem := _git_apply(clone, name, "--check")):
        raise ValueError(f"{clone} is not a tree that {name}.patch knows ({problem}); {_REMEDY}")

    done = [f"wrote: {path}" for path in files if not (clone / path).exists()]
    for path, text in files.items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_bytes(text)
    if not patched:
        _git_apply(clone, name)
        done.append(f"patched: {name}.patch")
    return done


def new_files(name: str) -> dict[str, bytes]:
    """Path in the clone -> contents."""
    found = sorted(path for path in (HERE / name).rglob("*") if path.is_file())
    return {p.relative_to(HERE / name).as_posix(): p.read_bytes() for p in found}


_REMEDY = "start from a clean clone of microsoft/Semi-supervised-learning (known: commit 1ef4cbe)"


def _git_apply(clone: Path, name: str, *options: str) -> str | None:
    """None if it succeeds, else the first line that git says."""
    if not (git := shutil.which("git")):
        raise ValueError("git is not installed, and applies the patch")
    if not clone.is_dir():
        return "no such folder"
    command = [git, "apply", "--whitespace=nowarn", *options, str(HERE / f"{name}.patch")]
    # A folder within another repository is a tree by itself.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(clone.resolve().parent)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    return done.stderr.splitlines()[0] if done.returncode else None


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())

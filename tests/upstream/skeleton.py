"""A stand-in for a clone: of each file that a patch changes, the lines that the patch has of it."""

import importlib.util
from pathlib import Path

UPSTREAM = Path(__file__).parents[2] / "docs" / "upstream"
NAMES = sorted(path.stem for path in UPSTREAM.glob("*.patch"))


def changed(name: str) -> dict[str, str]:
    """Path -> text before the change."""
    files: dict[str, str] = {}
    for part in (UPSTREAM / f"{name}.patch").read_text(encoding="utf-8").split("diff --git ")[1:]:
        head, *hunks = part.split("\n@@ ")
        path = head.splitlines()[-1].removeprefix("+++ b/")
        lines = [line for hunk in hunks for line in hunk.splitlines()[1:]]
        files[path] = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-"))
        if "\\ No newline" in part:
            files[path] = files[path].removesuffix("\n")
    return files


SKELETON = {path: text for name in NAMES for path, text in changed(name).items()}


def load(path):
    """The module in a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

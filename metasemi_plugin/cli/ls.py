"""What there is to choose from: ``python -m metasemi_plugin ls algorithms`` and the like."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from metasemi_plugin.config import help
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.names import BACKBONES, DATASETS
from metasemi_plugin.config.yaml_files import read_yaml
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder.layout import RUN, recorded
from metasemi_plugin.run_folder.status import latest_error, status


def main(argv: Sequence[str]) -> int:
    """List algorithms, backbones, datasets or configs, or the runs of a folder: ls KIND.

    Raises:
        UserError: not one of these kinds.
    """
    kind, more = argv[0] if argv else "", argv[1:]
    if kind not in KINDS or len(more) > (kind == "runs"):
        raise UserError(
            f"ls: expected one of {', '.join(KINDS)} (or runs DIR), got "
            f"{' '.join(argv) or 'nothing'}"
        )
    for line in KINDS[kind](*more):
        print(line)
    return 0


def algorithms() -> Iterator[str]:
    """Each algorithm with its reference, then its own options with their defaults."""
    width = max(map(len, ALGORITHMS))
    for name, (reference, options, origin) in sorted(ALGORITHMS.items()):
        yield f"{name:{width}}  {origin:15}  {reference}".rstrip()
        yield from help.table(
            [(f"--{o.name} {help.shown(o.default)}", o.help) for o in options], indent=4
        )


def backbones() -> Iterator[str]:
    """Names that the option ``net`` takes."""
    yield from help.table(
        [
            *BACKBONES.items(),
            ("timm/NAME", "any image model of timm, e.g. timm/resnet18"),
            ("PACKAGE.MODULE:FUNCTION", "a builder of your own"),
        ]
    )


def datasets() -> Iterator[str]:
    """Names that the option ``dataset`` takes."""
    yield from help.table(DATASETS.items())


def configs() -> Iterator[str]:
    """The configurations that come with the sources.

    Raises:
        UserError: they are not there, as in an installation without the sources.
    """
    here = Path(__file__).parents[2]
    root = next((r for r in (Path(), here) if (r / "config").is_dir()), None)
    if root is None:
        raise UserError("ls: there is no folder config here; run it in a copy of the repository")
    keys = ("dataset", "num_labels", "num_train_iter", "net")
    rows: list[tuple[str, ...]] = [("file", "dataset", "labels", "iters", "net")]
    for path in sorted((root / "config").glob("*/*.yaml")):
        if path.parent.name not in ("base", "suites"):
            found = read_yaml(path)
            values = [str(found[key].value) if key in found else "" for key in keys]
            rows.append((str(path.relative_to(root)), *values))
    yield from _columns(rows)


def runs(folder: str = "saved_models") -> Iterator[str]:
    """The runs below a folder: what has become of each, last error, time, and why it failed.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    root = Path(folder)
    found = sorted(path.parent for path in root.rglob(RUN))
    if not found:
        raise UserError(f"ls: {folder} holds no run: name a folder of run folders, ls runs DIR")
    rows: list[tuple[str, ...]] = [("run", "status", "iterations", "error", "on", "time", "")]
    for path in found:
        run = recorded(path)
        error, part = latest_error(run) or (None, "")
        took = tqdm.format_interval(run["seconds"]) if run.get("seconds") else ""
        rows.append((
            str(path.relative_to(root)),
            status(path, run),
            f"{run.get('iterations', 0)}/{run['num_train_iter']}" if run else "",
            "" if error is None else f"{error:.2f} %",
            part,
            took,
            run.get("error") or "",
        ))  # fmt: skip
    yield from _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()


KINDS: dict[str, Callable[..., Iterator[str]]] = {
    "algorithms": algorithms,
    "backbones": backbones,
    "datasets": datasets,
    "configs": configs,
    "runs": runs,
}

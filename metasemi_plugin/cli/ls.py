"""What there is to choose from: ``python -m metasemi_plugin ls algorithms`` and the like."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from metasemi_plugin.config import help
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.names import BACKBONES, DATASETS
from metasemi_plugin.config.yaml_files import read_yaml
from metasemi_plugin.errors import UserError


def main(argv: Sequence[str]) -> int:
    """List algorithms, backbones, datasets or configs: ls KIND.

    Raises:
        UserError: not one of these kinds.
    """
    if len(argv) != 1 or argv[0] not in KINDS:
        raise UserError(
            f"ls: expected one of {', '.join(KINDS)}, got {' '.join(argv) or 'nothing'}"
        )
    for line in KINDS[argv[0]]():
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
    keys = ("dataset", "num_labels", "net", "num_train_iter")
    rows: list[tuple[str, ...]] = [("file", "dataset", "labels", "net", "iters")]
    for path in sorted((root / "config").glob("*/*.yaml")):
        if path.parent.name not in ("base", "suites"):
            found = read_yaml(path)
            values = [str(found[key].value) if key in found else "" for key in keys]
            rows.append((str(path.relative_to(root)), *values))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()


KINDS: dict[str, Callable[[], Iterator[str]]] = {
    "algorithms": algorithms,
    "backbones": backbones,
    "datasets": datasets,
    "configs": configs,
}

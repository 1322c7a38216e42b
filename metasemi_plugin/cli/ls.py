"""What there is to choose from: ``python -m metasemi_plugin ls algorithms`` and the like."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from metasemi_plugin.errors import UserError

WIDTH = 100
# Of what semilearn's docstrings and ours name a publication by, the first one counts.
_REFERENCE = re.compile(
    r"(?:arxiv\.org/abs/|arXiv[: ])(?P<arxiv>\d{4}\.\d{5})|(?P<doi>doi [^\s,)]+)"
    r"|(?P<link>https?://(?!arxiv)[^\s&)]+)"
)
# FreeMatch (Wang et al., ICLR 2023) has no docstring in semilearn 0.3.2.
_NOT_IN_DOCSTRING = {"freematch": "arXiv:2205.07246"}


def main(argv: Sequence[str]) -> int:
    """List algorithms, backbones, datasets or configs: ls KIND.

    Raises:
        UserError: not one of these kinds.
    """
    if len(argv) != 1 or argv[0] not in KINDS:
        raise UserError(
            f"ls: expected one of {', '.join(KINDS)}, got {' '.join(argv) or 'nothing'}"
        )
    import metasemi_plugin

    metasemi_plugin.register()
    for line in KINDS[argv[0]]():
        print(line)
    return 0


def algorithms() -> Iterator[str]:
    """Each algorithm with its reference, then its own options with their defaults."""
    from metasemi_plugin.host.registry import algorithm_class
    from metasemi_plugin.host.views import supported_algorithms

    names = supported_algorithms()
    width = max(map(len, names))
    for name in names:
        algorithm = algorithm_class(name)
        yield f"{name:{width}}  {_origin(algorithm):15}  {reference(name, algorithm)}".rstrip()
        arguments = list(algorithm.get_argument())
        yield from table(
            [(f"--{a.name.lstrip('-')} {_short(a.default)}", a.help) for a in arguments], indent=4
        )


def reference(name: str, algorithm: type) -> str:
    """Where the algorithm is published, read off its docstring; empty if nowhere."""
    found = _REFERENCE.search(inspect.cleandoc(algorithm.__doc__ or ""))
    if found is None:
        return _NOT_IN_DOCSTRING.get(name, "")
    return f"arXiv:{found['arxiv']}" if found["arxiv"] else found["doi"] or found["link"]


def backbones() -> Iterator[str]:
    """Names that the option ``net`` takes."""
    from metasemi_plugin.host.nets import backbone_names
    from metasemi_plugin.host.registry import backbone

    rows = [(name, _origin(backbone(name))) for name in backbone_names()]
    rows += [
        ("timm/NAME", "any image model of timm, e.g. timm/resnet18"),
        ("PACKAGE.MODULE:FUNCTION", "a builder of your own"),
    ]
    yield from table(rows)


def datasets() -> Iterator[str]:
    """Names that the option ``dataset`` takes."""
    from metasemi_plugin.data import DATASETS
    from metasemi_plugin.host.datasets import HOST_DATASETS, dataset_names

    def what(name: str) -> str:
        if name in DATASETS:
            return (inspect.getdoc(inspect.getmodule(DATASETS[name])) or "").split("\n\n")[0]
        return "semilearn's; downloaded, or from " + ", ".join(HOST_DATASETS[name].files)

    yield from table([(name, " ".join(what(name).split())) for name in dataset_names()])


def configs() -> Iterator[str]:
    """The configurations that come with the sources.

    Raises:
        UserError: they are not there, as in an installation without the sources.
    """
    from metasemi_plugin.config.yaml_files import read_yaml

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


def table(rows: Iterable[tuple[str, str]], indent: int = 0) -> Iterator[str]:
    """Two columns, the second one wrapped at WIDTH."""
    rows = list(rows)
    left = indent + max((len(first) for first, _ in rows), default=0) + 2
    for first, second in rows:
        text = textwrap.wrap(second, WIDTH - left) or [""]
        yield f"{' ' * indent}{first}".ljust(left) + text[0] if text[0] else " " * indent + first
        yield from (" " * left + line for line in text[1:])


def _origin(thing: Callable | type) -> str:
    return thing.__module__.partition(".")[0]


def _short(default: object) -> str:
    return f"{default:.4g}" if isinstance(default, float) else str(default)


KINDS: dict[str, Callable[[], Iterator[str]]] = {
    "algorithms": algorithms,
    "backbones": backbones,
    "datasets": datasets,
    "configs": configs,
}

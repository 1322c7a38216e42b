"""Options for people: `--help`, and docs/options.md, which is

python -m metasemi_plugin.config.help > docs/options.md
"""

import textwrap
from collections.abc import Iterable, Iterator

from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.option import Option, Range
from metasemi_plugin.config.options import GROUPS
from metasemi_plugin.markdown_table import markdown_table

WIDTH = 100


def text(algorithm: str | None = None) -> str:
    """Every option by group, and the algorithms; or those of one algorithm."""
    if algorithm is not None:
        own = ALGORITHMS[algorithm].options
        return (
            _section(f"Options of {algorithm}", own) or f"{algorithm} has no options of its own\n"
        )
    parts = [_section(group, options) for group, options in GROUPS.items()]
    names = textwrap.fill(", ".join(sorted(ALGORITHMS)), WIDTH, initial_indent="  ",
                          subsequent_indent="  ")  # fmt: skip
    return "\n".join(
        [*parts, f"Options of an algorithm: --help ALGORITHM, which is one of\n{names}\n"]
    )


def _section(title: str, options: Iterable[Option]) -> str:
    rows = [(f"--{o.name} {shown(o.default)}", _sentence(o)) for o in options]
    return "".join(f"{line}\n" for line in (f"{title}:", *table(rows, indent=2))) if rows else ""


def table(rows: Iterable[tuple[str, str]], indent: int = 0) -> Iterator[str]:
    """Two columns, the second one wrapped at WIDTH."""
    rows = list(rows)
    left = indent + max((len(first) for first, _ in rows), default=0) + 2
    for first, second in rows:
        lines = textwrap.wrap(second, WIDTH - left) or [""]
        yield f"{' ' * indent}{first}".ljust(left) + lines[0] if lines[0] else " " * indent + first
        yield from (" " * left + line for line in lines[1:])


INTRODUCTION = """\
# Options

Every option is a key of a configuration file and, as `--key value`, of the command line; in which order they win:
[training.md](training.md#configurations). `python train.py --help` and `python train.py --help ALGORITHM` print what stands
here. semilearn's options keep their names and defaults, except that `num_workers` is 0, `use_tensorboard` is true,
`overwrite` is false, `algorithm` is `metasemi`, and `save_name` is made of the algorithm, the file and the seed. `--resume`,
`--extend` and `--overwrite` belong to a call, not to a run: [training.md](training.md#the-run-folder). On long-tailed sets:
[data.md](data.md#long-tailed-sets); on protocols: [protocols.md](protocols.md); on several processes:
[distributed.md](distributed.md). The last group is semilearn's, too; nothing reads it here, and anything but the default is
an error, for the reason that stands beside it.
"""  # noqa: E501


def page() -> str:
    """docs/options.md."""
    parts = [INTRODUCTION]
    for group, options in GROUPS.items():
        parts.append(f"## {group}\n\n{_markdown(options)}\n")
    parts.append("## Of algorithms\n")
    for name, algorithm in sorted(ALGORITHMS.items()):
        if algorithm.options and algorithm.origin in ("semilearn", "metasemi_plugin"):
            parts.append(f"### {name}\n\n{_markdown(algorithm.options)}\n")
    return "\n".join(parts)


def _markdown(options: Iterable[Option]) -> str:
    rows = [(f"`{o.name}`", shown(o.default), _sentence(o)) for o in options]
    return markdown_table(("option", "default", "meaning"), rows, numeric=())


def _sentence(option: Option) -> str:
    allowed = option.allowed
    if isinstance(allowed, Range):
        return f"{option.help}; {allowed.words}"
    if allowed is None or all(value in option.help for value in allowed):
        return option.help
    return f"{option.help}: {', '.join(allowed)}"


def shown(value: object) -> str:
    """A default as a configuration file has it."""
    if value is None or value == "":
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(page(), end="")

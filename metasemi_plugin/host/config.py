"""Configuration: command line > YAML (and its bases) > defaults, checked, as a Namespace."""

import argparse
import ast
import contextlib
import difflib
import functools
import inspect
import io
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from metasemi_plugin.errors import UserError
from metasemi_plugin.host import files
from metasemi_plugin.options import Flag, Option

_PATHS = ("save_dir", "data_dir", "load_path", "pretrain_path")
# What belongs to a call, not to a run: never part of the resolved configuration.
CALL_OPTIONS = ("c", "base", "resume", "overwrite")
_BOOLS = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}


class Setting(NamedTuple):
    """A value and where it came from: a file's path or "command line"."""

    value: object
    source: str


_ALGORITHM = Setting("metasemi", "default")


def resolve(path: str | None, overrides: Mapping[str, object]) -> argparse.Namespace:
    """The complete configuration of a run.

    Args:
        path: a YAML file, or None.
        overrides: key -> value from the command line (strings) or from Python.

    Returns:
        A Namespace with every option of the host, of the algorithm and of this package, plus
        ``resume`` and ``overwrite`` of this call.

    Raises:
        UserError: an unreadable file, unknown keys, wrong types or values; all problems together.
    """
    from metasemi_plugin.host.checks import impossible

    settings, _ = settle(path, overrides)
    algorithm = settings.get("algorithm", _ALGORITHM)
    known = options(_known_name("algorithm", algorithm))
    problems: list[str] = []
    wrong: set[str] = set()
    values = {option.name: option.default for option in known.values()}
    for key, setting in settings.items():
        if key not in known:
            problems.append(f"{setting.source}: unknown key {key!r}{did_you_mean(key, known)}")
            continue
        try:
            values[key] = coerce(setting.value, known[key])
        except ValueError as error:
            problems.append(f"{setting.source}: {key}: {error}")
            wrong.add(key)
    values["algorithm"] = algorithm.value
    values |= {key: os.path.expanduser(str(values[key])) for key in _PATHS if values[key]}
    problems += [
        f"{settings[key].source if key in settings else 'default'}: {key}: {what}"
        for key, what in impossible(values)
        if key not in wrong
    ]
    if problems:
        raise UserError("\n".join(problems))
    if values["save_name"] is None:
        task = Path(path).stem if path else f"{values['dataset']}_{values['num_labels']}"
        values["save_name"] = f"{values['algorithm']}_{task}_{values['seed']}"
    return argparse.Namespace(**values)


def settle(
    path: str | None, overrides: Mapping[str, object]
) -> tuple[dict[str, Setting], list[str]]:
    """The settings of a file and those that win over it; see `resolve`.

    Where they name another algorithm, what only the file's own knows is left out.

    Returns:
        The settings, and the keys that are left out.
    """
    settings = read_yaml(Path(path)) if path else {}
    given = {key: Setting(value, "command line") for key, value in overrides.items()}
    before, now = (s.get("algorithm", _ALGORITHM) for s in (settings, settings | given))
    left_out: list[str] = []
    if before.value != now.value:
        own = options(_known_name("algorithm", before)).keys()
        left_out = sorted(settings.keys() & own - options(_known_name("algorithm", now)).keys())
    return {k: s for k, s in settings.items() if k not in left_out} | given, left_out


def options(algorithm: str) -> dict[str, Option]:
    """Every option of a run of ``algorithm``: the host's, the algorithm's, this package's."""
    from semilearn.core.utils import ALGORITHMS

    from metasemi_plugin import mixup
    from metasemi_plugin.data import image_folder, split
    from metasemi_plugin.host import (
        bad_steps,
        checkpoint,
        datasets,
        device,
        nets,
        on_device,
        optim,
        teacher,
    )

    declared = _declared_types()
    known = {
        name: Option(name, declared.get(name, type(default)), default, "")
        for name, default in host_defaults(algorithm)
    }
    for argument in ALGORITHMS[algorithm].get_argument():
        name = argument.name.lstrip("-")
        kind = argument.type if isinstance(argument.type, type) else bool
        known[name] = Option(name, kind, argument.default, argument.help)
    rooms = (
        datasets, device, nets, on_device, teacher, optim, checkpoint, bad_steps, image_folder,
        split, mixup,
    )  # fmt: skip
    ours = [*_OPTIONS, *(option for room in rooms for option in room.OPTIONS)]
    return known | {option.name: option for option in ours}


_OPTIONS = [
    Option("algorithm", str, "metasemi", "name of the algorithm"),
    Option("save_name", str, None, "run folder in save_dir; null: ALGORITHM_FILE_SEED"),
    Option("overwrite", bool, False, "replace the run folder if it exists"),
    Option("resume", bool, False, "continue the run in the run folder"),
    Option("use_tensorboard", bool, True, "write TensorBoard curves into the run folder"),
    Option(
        "num_workers",
        int,
        0,
        "loader processes; 0 loads in the training process, which is fastest for batches of "
        "tensors: to receive one costs as much as to make it. Try 2 where PIL augments (strong "
        "views, the host's own data sets) and cores are free",
    ),
]


@functools.cache
def host_defaults(algorithm: str) -> list[tuple[str, object]]:
    from semilearn import get_config

    state = random.getstate()
    with _quiet_netstat():
        args = get_config({"algorithm": algorithm})
    random.setstate(state)
    args.dist_url = "tcp://127.0.0.1:11111"
    args.distributed = False
    return [(k, v) for k, v in vars(args).items() if k not in ("c", "base")]


@functools.cache
def _declared_types() -> dict[str, type]:
    """Of the host's options, as its get_config declares them, whatever their defaults are."""
    from semilearn import get_config

    kinds = {"int": int, "float": float, "str": str, "str2bool": bool}
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(get_config))):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="add_argument"), args=[*_, ast.Constant(str(name))]
            ):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                found[name.lstrip("-").replace("-", "_")] = kinds[given.get("type", "str2bool")]
    return found


@contextlib.contextmanager
def _quiet_netstat() -> Iterator[None]:
    # The host asks a shell for netstat, which complains where there is none.
    saved = os.dup(2)
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def read_yaml(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Setting]:
    """Settings of a YAML file on top of those of its ``base:``.

    That is a path relative to the file, or a list of them, of which later ones win. Of net_args
    each file sets its own keys: a method may add dropout to the net that a cell describes.
    """
    path = Path(os.path.expanduser(path)).resolve()
    if path in chain:
        raise UserError(f"{path}: its base leads back to itself")
    content = load_mapping(path)
    bases = content.pop("base", None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(
            f"{path}: base must be one path of a YAML file, relative to this, or a list"
        )
    settings: dict[str, Setting] = {}
    for base in bases:
        settings = _over(
            settings, read_yaml(path.parent / os.path.expanduser(base), (*chain, path))
        )
    return _over(settings, {key: Setting(value, str(path)) for key, value in content.items()})


def _over(below: dict[str, Setting], above: dict[str, Setting]) -> dict[str, Setting]:
    merged = below | above
    low, high = (
        layer["net_args"].value if "net_args" in layer else None for layer in (below, above)
    )
    if isinstance(low, dict) and isinstance(high, dict):
        merged["net_args"] = above["net_args"]._replace(value={**low, **high})
    return merged


def load_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, {} if it is empty.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a date with a 13th month is a ValueError, and so on
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: must be a mapping of option: value")
    return content


def write_yaml(args: argparse.Namespace, path: Path) -> None:
    """Save a resolved configuration so that ``--c`` reads it again."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    content = io.BytesIO()
    yaml.dump({k: v for k, v in sorted(vars(args).items()) if k not in CALL_OPTIONS}, content)
    files.replace(path, content.getvalue())


def coerce(value: object, option: Option) -> object:
    """``value`` as the option's type; text (from a command line) is read as that type.

    Raises:
        ValueError: it can't be.
    """
    kind = option.type
    if isinstance(value, Flag) and kind is not bool:
        raise ValueError(f"expected {_article(kind)}, got nothing")
    if value in (None, "null", "None"):  # "None" is how USB's own YAML files write it
        if option.default in (None, ""):
            return option.default
        raise ValueError(f"expected {_article(kind)}, got nothing")
    if kind is dict and isinstance(value, str):
        try:
            value = YAML(typ="safe", pure=True).load(value)
        except Exception as error:
            raise ValueError(f"not valid YAML: {value!r}") from error
    if kind is not dict and isinstance(value, list | dict):
        # Not shown: a few lines of YAML can stand for billions of elements.
        raise ValueError(f"expected {_article(kind)}, got a {type(value).__name__}")
    if kind is bool and not isinstance(value, bool):
        value = _BOOLS.get(str(value).lower(), value)
    if kind is str and isinstance(value, int | float):
        value = str(value).lower()
    if kind is int and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = int(value)
    whole = kind is int and isinstance(value, int)
    if kind in (int, float) and not isinstance(value, bool) and not whole:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            number = float(value)  # type: ignore[arg-type]
            value = kind(number) if kind(number) == number else value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"expected {_article(kind)}, got {value!r}")
    return value


def _article(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "a mapping")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest of ``words``, or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(word: str, words: Iterable[str]) -> str:
    """ "unknown WORD", with the nearest of ``words`` or, where none is near, all of them."""
    return f"unknown {word!r}{did_you_mean(word, words) or '; one of ' + ', '.join(words)}"


def _known_name(key: str, setting: Setting) -> str:
    from metasemi_plugin.host.views import supported_algorithms

    names = supported_algorithms()
    if setting.value not in names:
        raise UserError(f"{setting.source}: {key}: {unknown(str(setting.value), names)}")
    return str(setting.value)

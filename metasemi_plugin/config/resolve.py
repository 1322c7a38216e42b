"""Configuration: command line > YAML (and its bases) > defaults, checked, as a Namespace."""

import argparse
import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.option import Option, Range
from metasemi_plugin.config.options import NOT_HERE, OPTIONS
from metasemi_plugin.config.restarts import parts
from metasemi_plugin.config.values import coerce, did_you_mean, unknown
from metasemi_plugin.config.yaml_files import Setting, read_yaml
from metasemi_plugin.errors import UserError

_PATHS = ("save_dir", "data_dir", "load_path", "init_from", "pretrain_path", "labels")
_ALGORITHM = Setting("metasemi", "default")
MOST = 2**63 - 1

# (key, what is wrong with it) of values by option.
Problems = Iterator[tuple[str, str]]


def resolve(
    path: str | None,
    overrides: Mapping[str, object],
    more: Callable[[dict], Problems] = lambda values: iter(()),
    look: Callable[[dict, Mapping[str, Setting]], Problems] = lambda values, settings: iter(()),
) -> argparse.Namespace:
    """The complete configuration of a run.

    Args:
        path: a YAML file, or None.
        overrides: key -> value from the command line (strings) or from Python.
        more: what else no run can have.
        look: settles what the data decide.

    Returns:
        A Namespace with every option of the host, of the algorithm and of this package, plus
        ``resume``, ``overwrite`` and ``extend`` of this call.

    Raises:
        UserError: an unreadable file, unknown keys, wrong types or values; all problems together.
    """
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
    seen = list(look(values, settings))
    problems += [
        f"{settings[key].source if key in settings else 'default'}: {key}: {what}"
        for key, what in (*seen, *impossible(values, known), *more(values))
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
    """Every option of a run of ``algorithm``: its own, and those of all."""
    return {option.name: option for option in ALGORITHMS[algorithm].options} | OPTIONS


def _known_name(key: str, setting: Setting) -> str:
    if setting.value not in ALGORITHMS:
        names = sorted(ALGORITHMS)
        raise UserError(f"{setting.source}: {key}: {unknown(str(setting.value), names)}")
    return str(setting.value)


def impossible(v: dict, known: Mapping[str, Option]) -> Problems:
    """Values that no run can have, as far as they tell by themselves."""
    for key, value in v.items():
        allowed = known[key].allowed
        if value is None:
            continue
        if isinstance(value, float) and not _is_single(value):
            yield key, f"must be finite in single precision, not {value}"
        elif isinstance(value, int) and abs(value) > MOST:
            yield key, f"must be at most {MOST}"
        elif isinstance(allowed, Range) and not allowed.holds(value):
            yield key, f"must be {allowed.words}, not {value}"
        elif isinstance(allowed, tuple) and not isinstance(allowed, Range) and value not in allowed:
            yield key, unknown(value, allowed)
    yield from _contradictions(v)
    yield from ((key, option.help) for key, option in NOT_HERE.items() if v[key] != option.default)
    name = v["save_name"]
    if name is not None and not _is_folder_name(name):
        yield "save_name", f"must be one folder name, not {name!r}; see save_dir"
    for key in ("save_dir", "data_dir"):
        if "\0" in v[key]:
            yield key, "must not have a NUL character in it"


def _is_single(value: float) -> bool:
    try:
        return math.isfinite(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return False


def _contradictions(v: dict) -> Problems:
    if v["epoch"] > v["num_train_iter"] >= 1:
        yield "epoch", f"{v['epoch']} epochs do not fit into num_train_iter {v['num_train_iter']}"
    try:
        lengths = [end - begin for begin, end in parts(argparse.Namespace(**v))]
    except ValueError:
        lengths = [0]
    if min(lengths) < 1 <= v["num_train_iter"]:
        yield "lr_restarts", f"must be rising numbers below num_train_iter, not {v['lr_restarts']}"
    elif v["num_warmup_iter"] >= min(lengths) >= 1:
        what = "of the shortest part" if v["lr_restarts"] else "of the training"
        yield "num_warmup_iter", f"must be less than {min(lengths)}, the iterations {what}"
    if v["load_path"] and v["init_from"]:
        yield "init_from", "load_path gives other weights to begin with: leave one out"
    if v["seed"] >= 2**32:
        yield "seed", f"must be less than {2**32}, not {v['seed']}"
    if 0 < v["label_folds"] <= v["label_fold"] or v["label_folds"] == 1:
        yield "label_folds", "must be 0 (none), or at least 2 and more than label_fold"


def _is_folder_name(name: str) -> bool:
    one = Path(name).name == name and name not in ("", "..")
    return one and "\0" not in name and len(name.encode(errors="replace")) <= 200

"""Configuration: command line > YAML (and its bases) > defaults, checked, as a Namespace."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from metasemi_plugin.config.option import Option
from metasemi_plugin.config.values import coerce, did_you_mean, unknown
from metasemi_plugin.config.yaml_files import Setting, read_yaml
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.defaults import declared_types, host_defaults

_PATHS = ("save_dir", "data_dir", "load_path", "pretrain_path")
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
    from metasemi_plugin.host import bad_steps, datasets, device, nets, on_device, optim, teacher
    from metasemi_plugin.run_folder import checkpoint

    declared = declared_types()
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


def _known_name(key: str, setting: Setting) -> str:
    from metasemi_plugin.host.views import supported_algorithms

    names = supported_algorithms()
    if setting.value not in names:
        raise UserError(f"{setting.source}: {key}: {unknown(str(setting.value), names)}")
    return str(setting.value)

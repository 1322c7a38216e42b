"""Configuration files: YAML, and the ``base:`` files it stands on."""

import argparse
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files


class Setting(NamedTuple):
    """A value and where it came from: a file's path or "command line"."""

    value: object
    source: str


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

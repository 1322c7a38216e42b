"""The folder ``model/`` of a run: model.safetensors, model.json and README.md.

The weights are those of the net that was evaluated: the average of the parameters, with BatchNorm
statistics of its own. model.json says how to build the net, and how an image becomes its input.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from metasemi_plugin.errors import UserError
from metasemi_plugin.model.card import card
from metasemi_plugin.model.description import Description
from metasemi_plugin.run_folder import files
from metasemi_plugin.run_folder.layout import CARD, DESCRIPTION, MODEL, NEW_WEIGHTS, WEIGHTS

FORMAT = 1


def write(run_folder: Path, weights: Mapping[str, Tensor], description: Description) -> None:
    """Make them the model of a run, whole or not at all.

    Raises:
        OSError: the model is what it was.
    """
    folder = run_folder / MODEL
    folder.mkdir(exist_ok=True)
    content = safetensors.torch.save({name: t.contiguous() for name, t in weights.items()})
    found = {"format": FORMAT, "sha256": _digest(content), **description._asdict()}
    files.replace(folder / NEW_WEIGHTS, content)
    files.replace(
        folder / DESCRIPTION,
        f"{json.dumps(found, indent=2)}\n".encode(),
        before_moving=[(folder / NEW_WEIGHTS, folder / WEIGHTS)],
    )
    files.replace(folder / CARD, card(description).encode())


def read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """The model of a run folder, or of a model folder by itself.

    Raises:
        UserError: there is none, it has been changed, or another version wrote it.
    """
    folder = path / MODEL if (path / MODEL).is_dir() else path
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        content = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} holds no model: expected a run folder, or its folder {MODEL}/ with "
            f"{DESCRIPTION} and {WEIGHTS}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{folder / DESCRIPTION} is damaged: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise UserError(
            f"{folder / DESCRIPTION} was written by another version of this package: use that"
        )
    if found.pop("sha256", None) != _digest(content):
        raise UserError(
            f"{folder / WEIGHTS} is damaged, or is not the file that {DESCRIPTION} was written for"
        )
    try:
        return Description(**found), safetensors.torch.load(content)
    except Exception as error:
        raise UserError(f"{folder} cannot be used: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

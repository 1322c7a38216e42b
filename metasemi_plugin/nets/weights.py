"""The weights that a checkpoint was evaluated with."""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from metasemi_plugin.errors import UserError


def evaluated(path: str, option: str) -> dict[str, Tensor]:
    """Parameters and buffers from a checkpoint of a run, ours, USB's or timm's, or a state_dict.

    Of a run those of the average that is evaluated, which is its "ema_model".

    Args:
        path: of the file, or its address.
        option: that names it, for the message.

    Raises:
        UserError: it cannot be read, or holds no weights.
    """
    try:
        saved = _loaded(path)
    except OSError as error:
        raise UserError(f"{option}: cannot read {path!r}: {error.strerror or error}") from error
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(
            f"{option}: {path!r} is no checkpoint, or holds more than tensors and plain values"
        ) from error
    if isinstance(saved, dict):
        saved = next((saved[key] for key in _PARTS if key in saved), saved)
    if not isinstance(saved, dict) or not _all_tensors(saved):
        raise UserError(f"{option}: {path!r} holds no weights")
    return {key.removeprefix("module."): t for key, t in saved.items()}


# In a checkpoint, what is evaluated before what is trained.
_PARTS = ("ema_model", "state_dict_ema", "model_ema", "model", "state_dict")


def _loaded(path: str) -> Any:
    if "://" in path:
        return torch.hub.load_state_dict_from_url(path, map_location="cpu", weights_only=True)
    if path.endswith(".safetensors"):
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _all_tensors(part: dict) -> bool:
    return bool(part) and all(isinstance(value, Tensor) for value in part.values())

"""The weights that a checkpoint was evaluated with."""

import torch
from torch import Tensor

from metasemi_plugin.errors import UserError


def evaluated(path: str, option: str) -> dict[str, Tensor]:
    """Parameters and buffers from a checkpoint of a run, ours or USB's, or from a bare state_dict.

    Of a run those of the teacher, which is what is evaluated, or of fast-SWA's average.

    Args:
        path: of the file.
        option: that names it, for the message.

    Raises:
        UserError: it cannot be read, or holds no weights.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{option}: cannot read {path!r}: {error.strerror or error}") from error
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(
            f"{option}: {path!r} is no checkpoint, or holds more than tensors and plain values"
        ) from error
    parts = [saved]
    if isinstance(saved, dict) and "model" in saved:
        parts = [saved.get("ema_model", saved["model"])]
        parts += [saved[key] for key in ("average", "average_buffers") if saved.get(key)]
    if not all(isinstance(part, dict) and _all_tensors(part) for part in parts):
        raise UserError(f"{option}: {path!r} holds no weights")
    return {key.removeprefix("module."): t for part in parts for key, t in part.items()}


def _all_tensors(part: dict) -> bool:
    return bool(part) and all(isinstance(value, Tensor) for value in part.values())

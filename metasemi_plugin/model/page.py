"""Predictions as one HTML page that needs nothing beside it."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageOps

from metasemi_plugin.data.decode import decode_image

SIDE = 96


def page(rows: Sequence[Any], classes: Sequence[str], title: str) -> str:
    """A thumbnail of each image with its classes, the least confident first, to be corrected.

    What a person has looked at is saved by the page as a CSV file that the option `labels` takes.

    Args:
        rows: each with ``file`` and ``ranked``, (class, probability) pairs, most probable first.
        classes: to choose from.
        title: of the page.
    """
    environment = Environment(
        loader=PackageLoader("metasemi_plugin.model", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    doubtful = sorted(rows, key=lambda row: row.ranked[0][1])
    shown = [(row.file, row.ranked, _thumbnail(row.file)) for row in doubtful]
    return environment.get_template("page.html.j2").render(
        title=title, rows=shown, classes=classes, side=SIDE
    )


def _shown(file: str) -> Image.Image:
    """RGB; of a .npy file the first three channels, or the first of fewer."""
    if file.lower().endswith(".npy"):
        values = np.atleast_3d(np.load(file, allow_pickle=False))
        shown = values[..., : 3 if values.shape[2] >= 3 else 1]
        return Image.fromarray(np.broadcast_to(decode_image(shown, SIDE, "pad"), (SIDE, SIDE, 3)))
    with Image.open(file) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


def _thumbnail(file: str) -> str:
    image = _shown(file)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")

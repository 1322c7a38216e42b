"""How a builder of backbones is told the number of channels of the images."""

import inspect
from collections.abc import Callable, Mapping

RGB = 3


def of_channels(builder: Callable, channels: int) -> Mapping[str, int]:
    """The argument `in_channels`, for builders that have one and images that are not RGB.

    Other builders may make a net for such images by themselves: whether it takes them shows when
    the first one is passed through it.
    """
    if channels == RGB or "in_channels" not in inspect.signature(builder).parameters:
        return {}
    return {"in_channels": channels}

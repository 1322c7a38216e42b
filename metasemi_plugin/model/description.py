"""What a model folder says of its weights."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Description(NamedTuple):
    """What model.json holds, beside the digest of the weights.

    Attributes:
        net, net_args: the backbone, as the options of a run name it.
        channels_last: the memory format it was evaluated in.
        classes: their names, in the order of the outputs.
        img_size: height and width of its input, in pixels.
        channels: of its input.
        mean, std: one value a channel, in units of 0..1.
        resize: how an image becomes a square, see the option.
        ranges: what counts as black and white in images of more than 8 bits, see `decode`.
        run: of what training it is: algorithm, data set, labels, iteration; its errors and what is
            confused (rows are true classes), both by "validation" and "test"; its course until
            then, (iteration, error on the first of them).
        chosen: how this iteration was chosen.
        versions: of Python and the packages.
        license: of the weights and of the data, for whoever passes the folder on to fill in.
    """

    net: str
    net_args: dict
    channels_last: bool
    classes: Sequence[str]
    img_size: int
    channels: int
    mean: Sequence[float]
    std: Sequence[float]
    resize: str
    ranges: Mapping[str, Sequence[float]]
    run: Mapping
    chosen: str
    versions: Mapping[str, str]
    license: Mapping[str, str | None] = {"weights": None, "data": None}

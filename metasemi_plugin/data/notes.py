"""What the record and the log of a run say of how its data were read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from metasemi_plugin.data.class_folders import in_words


class Notes(NamedTuple):
    """Of a folder of images; of other data sets there is nothing to say.

    Attributes:
        left_out: ending, or name of a folder and "/" -> how many are not used.
        ranges, cut: see `decode.Decoded`.
        labeled: class -> how many labeled images were found, where `labels` is not "equal".
    """

    left_out: Mapping[str, int] = {}
    ranges: Mapping[str, Sequence[float]] = {}
    cut: int = 0
    labeled: Mapping[str, int] = {}

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"left out of the data: {in_words(self.left_out)}"] if self.left_out else []
        if self.labeled:
            counts = ", ".join(f"{n} {name}" for name, n in self.labeled.items())
            lines.append(f"{sum(self.labeled.values())} labeled images found: {counts}")
        lines += [
            f"gray images of more than 8 bits ({kind}): of all their values the lowest, {low}, "
            f"becomes black and the highest, {high}, white"
            for kind, (low, high) in self.ranges.items()
        ]
        if self.cut:
            lines.append(
                f"{self.cut} color images have 16 bits a channel, of which the upper 8 are used"
            )
        return lines

"""The pictures of an evaluation, as PNG."""

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metasemi_plugin.experiments.evaluate.scores import BINS, calibration_error
from metasemi_plugin.experiments.report.drawing import COLORS, STYLE, figure_of

# Of more classes the numbers, and then the names, would lie over one another.
NUMBERED, NAMED = 20, 120


@matplotlib.rc_context(STYLE)
def confusion(table: pd.DataFrame) -> bytes:
    """Each row in shares of its class, with the numbers of images in it."""
    count, names = len(table), [str(name)[:30] for name in table.columns]
    shares = table.to_numpy() / np.maximum(table.to_numpy().sum(1, keepdims=True), 1)
    side = 2.4 + min(0.34 * count, 14)
    figure = figure_of(side + 0.8, side)
    panel = figure.subplots()
    panel.grid(False)
    drawn = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, label="share of the true class", shrink=0.7)
    if count <= NUMBERED:
        for (row, column), number in np.ndenumerate(table.to_numpy()):
            if number:
                color = "white" if shares[row, column] > 0.6 else "black"
                panel.text(column, row, str(number), ha="center", va="center", color=color,
                           fontsize=7)  # fmt: skip
    if count <= NAMED:
        size = 9 if count <= 40 else 6
        panel.set_xticks(range(count), names, rotation=90, fontsize=size)
        panel.set_yticks(range(count), names, fontsize=size)
    panel.set_xlabel("taken for")
    panel.set_ylabel("true class")
    return _png(figure)


@matplotlib.rc_context(STYLE)
def reliability(bins: pd.DataFrame) -> bytes:
    """How often each confidence is right, and how many images have it."""
    figure = figure_of(4.4, 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middle = (bins["above"] + bins["up_to"]) / 2
    upper.bar(middle, bins["right"].fillna(0), 0.9 / BINS, color=COLORS[2])
    upper.plot(bins["confidence"], bins["confidence"], "D", color=COLORS[1], label="confidence")
    upper.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=0.8)
    upper.set_ylabel("right, share of images")
    upper.set_title(f"expected calibration error {calibration_error(bins):.2f} %")
    upper.legend(loc="upper left")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    lower.bar(middle, bins["images"], 0.9 / BINS, color="0.6")
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    return _png(figure)


@matplotlib.rc_context(STYLE)
def error_by_confidence(curve: pd.DataFrame) -> bytes:
    """What the error is if the least confident images are left to somebody else."""
    figure = figure_of(5.2, 3.4)
    panel = figure.subplots()
    panel.plot(100 * curve["share"], curve["error"], ".-", color=COLORS[2], markersize=3)
    panel.set_xlim(0, 100)
    panel.set_ylim(0, 1.05 * max(curve["error"].max(), 1))
    panel.set_xlabel("images, the most confident first, %")
    panel.set_ylabel("error of these, %")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=144)
    return file.getvalue()

"""The pictures of an evaluation."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metasemi_plugin.experiments.evaluate.measures import Measures
from metasemi_plugin.experiments.report.drawing import (
    COLOURS,
    STYLE,
    figure_of,
    file_of,
    from_zero,
)
from metasemi_plugin.run_folder.layout import BY_CONFIDENCE, CALIBRATION, CONFUSION

# With more classes the numbers in the cells of the confusion cannot be read.
MOST_NUMBERS = 20


def pictures(found: Measures) -> dict[str, bytes]:
    """Name -> PNG."""
    with matplotlib.rc_context(STYLE):
        figures = {
            CONFUSION: _confusion(found.confusion),
            CALIBRATION: _calibration(found.calibration, found.calibration_error),
            BY_CONFIDENCE: _by_confidence(found.by_confidence),
        }
        return {name: file_of(figure, "png") for name, figure in figures.items()}


def _confusion(table: pd.DataFrame) -> Figure:
    counts, classes = table.to_numpy(), list(table.columns)
    side = 1.6 + min(0.4 * len(classes), 12)
    figure = figure_of(side, side)
    panel = figure.subplots()
    panel.grid(False)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    small = {"fontsize": 9 if len(classes) <= MOST_NUMBERS else 4}
    panel.set_xticks(range(len(classes)), classes, rotation=90, **small)
    panel.set_yticks(range(len(classes)), classes, **small)
    panel.set(xlabel="predicted", ylabel="true")
    if len(classes) <= MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, count or "", ha="center", va="center", color=color, fontsize=7)
    return figure


def _calibration(bins: pd.DataFrame, error: float) -> Figure:
    figure = figure_of(4.5, 4)
    panel = figure.subplots()
    width = bins["to"] - bins["above"]
    panel.bar(bins["above"], bins["accuracy"], width, align="edge", color=COLOURS[6],
              edgecolor="white", label="accuracy")  # fmt: skip
    panel.plot(bins["confidence"], bins["accuracy"], "o", color=COLOURS[2], label="of the bin")
    panel.plot([0, 1], [0, 1], "--", color=COLOURS[0], label="as it should be")
    panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that is right")
    panel.set_title(f"Expected calibration error {100 * error:.1f} %")
    panel.legend(loc="upper left")
    return figure


def _by_confidence(curve: pd.DataFrame) -> Figure:
    figure = figure_of(4.5, 3.2)
    panel = figure.subplots()
    panel.plot(100 * curve["share"], curve["error"], color=COLOURS[2])
    panel.set(xlim=(0, 100), xlabel="images answered, the most confident first, %",
              ylabel="error among them, %")  # fmt: skip
    if curve["error"].any():
        from_zero(panel)
    return figure

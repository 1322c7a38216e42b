"""The arithmetic of an evaluation. Errors are in percent, all else are shares in 0..1."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

BINS = 15


class Answers(NamedTuple):
    """Of N images: float64 (N, C), and the predicted and the true classes, int64 (N,)."""

    probabilities: np.ndarray
    predicted: np.ndarray
    targets: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """The greatest probability of each, (N,)."""
        return self.probabilities.max(1)

    @property
    def right(self) -> np.ndarray:
        return self.predicted == self.targets


def error(answers: Answers) -> float:
    """As the record of a run has it."""
    return float(100 * (1 - answers.right.mean()))


def confusion(answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """How many images of each class (row) are taken for each class (column)."""
    table = confusion_matrix(answers.targets, answers.predicted, labels=range(len(classes)))
    return pd.DataFrame(table, pd.Index(classes, name="true class"), classes)


def per_class(answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """Number of images, precision, recall and F1, a line a class.

    Precision is nan where nothing is taken for the class, recall where there is no image of it.
    """
    precision, recall, f1, images = precision_recall_fscore_support(
        answers.targets, answers.predicted, labels=range(len(classes)), zero_division=np.nan
    )
    columns = {"images": images, "precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame(columns, pd.Index(classes, name="class"))


def calibration(answers: Answers) -> pd.DataFrame:
    """Confidence and how often it is right, in bins of equal width, above one end up to the other.

    Guo et al., On Calibration of Modern Neural Networks (2017), section 2.
    """
    edges = np.arange(BINS + 1) / BINS
    place = np.digitize(answers.confidence, edges[1:-1], right=True)
    images = np.bincount(place, minlength=BINS)
    sums = (np.bincount(place, v, BINS) for v in (answers.confidence, answers.right))
    with np.errstate(invalid="ignore"):  # nan where there are no images
        confidence, right = (total / images for total in sums)
    columns = {"above": edges[:-1], "up_to": edges[1:], "images": images}
    return pd.DataFrame({**columns, "confidence": confidence, "right": right})


def calibration_error(bins: pd.DataFrame) -> float:
    """The expected calibration error of `calibration`, in percent: Guo et al. (2017), Eq. 3."""
    gap = (bins["right"] - bins["confidence"]).abs() * bins["images"]
    return float(100 * gap.sum() / bins["images"].sum())


def by_confidence(answers: Answers) -> pd.DataFrame:
    """The error of those images that are at least so confident, a line a confidence, falling.

    The risk-coverage curve of Geifman and El-Yaniv, Selective Classification for Deep Neural
    Networks (2017); ``share`` is the coverage.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, count = answers.confidence[order], np.arange(1, len(order) + 1)
    wrong = 100 * np.cumsum(~answers.right[order]) / count
    curve = pd.DataFrame({"confidence": confidence, "share": count / len(order), "error": wrong})
    return curve.drop_duplicates("confidence", keep="last", ignore_index=True)


def summary(answers: Answers, classes: Sequence[str]) -> dict[str, float]:
    """All of it in a few numbers; precision, recall and F1 are means over the classes."""
    means = per_class(answers, classes)[["precision", "recall", "f1"]].mean()
    true = answers.probabilities[np.arange(len(answers.targets)), answers.targets]
    return {
        "images": len(answers.targets),
        "error": error(answers),
        **means.to_dict(),
        "cross_entropy": float(-np.log(np.maximum(true, np.finfo(float).tiny)).mean()),
        "confidence": float(answers.confidence.mean()),
        "calibration_error": calibration_error(calibration(answers)),
    }

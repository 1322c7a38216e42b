"""What answers come to. N images, C classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

BINS = 15


class Measures(NamedTuple):
    """What is said of answers.

    Attributes:
        error: in percent.
        confusion: how many images of each class (row) are taken for each class (column).
        per_class: a row a class: images, precision, recall, f1; NaN where there is nothing to
            divide by.
        calibration: see `calibration`.
        calibration_error: expected, see `calibration_error`.
        by_confidence: see `by_confidence`.
    """

    error: float
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    calibration: pd.DataFrame
    calibration_error: float
    by_confidence: pd.DataFrame


def measure(targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> Measures:
    """Of int (N,) and (N, C)."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    right, numbers = predicted == targets, np.arange(len(classes))
    confusion = confusion_matrix(targets, predicted, labels=numbers)
    precision, recall, f1, images = precision_recall_fscore_support(
        targets, predicted, labels=numbers, zero_division=np.nan
    )
    columns = {"images": images, "precision": precision, "recall": recall, "f1": f1}
    bins = calibration(confidence, right)
    return Measures(
        error=100 * (1 - accuracy_score(targets, predicted)),
        confusion=pd.DataFrame(confusion, index=pd.Index(classes, name="true"), columns=classes),
        per_class=pd.DataFrame(columns, index=pd.Index(classes, name="class")),
        calibration=bins,
        calibration_error=calibration_error(bins),
        by_confidence=by_confidence(confidence, right),
    )


def calibration(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Confidence beside accuracy, by BINS intervals of confidence of equal width, (above, to].

    Args:
        confidence: (N,), the greatest probability of an image.
        right: bool (N,).

    Returns:
        above, to, images, and the means confidence and accuracy, NaN where there are no images.
    """
    edges = np.arange(BINS + 1) / BINS
    which = np.searchsorted(edges, confidence.clip(max=1)) - 1
    images, sums, rights = (
        np.bincount(which, weights, BINS) for weights in (None, confidence, right)
    )
    share = np.where(images, images, np.nan)
    return pd.DataFrame({"above": edges[:-1], "to": edges[1:], "images": images,
                         "confidence": sums / share, "accuracy": rights / share})  # fmt: skip


def calibration_error(bins: pd.DataFrame) -> float:
    """sum_m |B_m| / N |acc(B_m) - conf(B_m)|: Guo et al. (2017), On Calibration of Modern Neural
    Networks, Eq. 3.
    """
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    return float((bins["images"] * gaps).sum() / bins["images"].sum())


def by_confidence(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """The error where only answers of some confidence are taken: the risk-coverage curve.

    Returns:
        A row a confidence that occurs, greatest first: at_least, the share of images of at least
        this confidence, and their error in percent.
    """
    order = np.argsort(-confidence, kind="stable")
    at_least, wrong = confidence[order], np.cumsum(~right[order])
    count = np.arange(1, len(order) + 1)
    # Images of one confidence are taken together.
    last = np.append(at_least[:-1] > at_least[1:], True)
    columns = {"at_least": at_least, "share": count / len(order), "error": 100 * wrong / count}
    return pd.DataFrame(columns)[last].reset_index(drop=True)

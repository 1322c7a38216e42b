"""Published errors, to be set beside our own: published.csv.

Columns: table (of the Meta-Semi paper, or "usb"), dataset, net, labels, method, error and std in
percent over seeds (std is empty where none is given), note. Methods bear the names of the paper's
tables. Its WRN-28 on STL-10 stands under the name of semilearn's counterpart, wrn_var_37_2.
"""

import csv
import functools
from importlib.resources import files
from typing import NamedTuple

PAPER = (
    "Wang et al., Meta-Semi: A Meta-learning Approach for Semi-supervised Learning, as submitted "
    "to ICLR 2021"
)
# Best error on test, 3 seeds.
USB = "USB, github.com/microsoft/Semi-supervised-learning, results/classic_cv.csv at 4499503"
USB_NET = "wrn_28_2"  # in its config/classic_cv, for all data sets that are here


class Number(NamedTuple):
    """An error and its standard deviation in percent, a remark, who published it, which net."""

    error: float
    std: float | None
    note: str
    source: str
    net: str


def paper(table: str, dataset: str, net: str, num_labels: int, method: str) -> Number | None:
    """The paper's number of that cell exactly; None where it gives none.

    Args:
        table: "table1" to "table6", or "appendix_d".
        dataset: cifar10, cifar100, svhn or stl10.
        net: cnn13, wrn_28_2 or wrn_var_37_2.
        num_labels: how many labels.
        method: as in the paper; in Table 5 with the time of training, as in "ICT, 5.0 h".
    """
    return _numbers().get((table, dataset, net, num_labels, method))


def usb(dataset: str, num_labels: int, method: str) -> Number | None:
    """USB's own number, whatever net ours has; None where it gives none.

    Args:
        dataset: cifar10, cifar100 or svhn.
        num_labels: how many labels.
        method: as the paper names it.
    """
    return _numbers().get(("usb", dataset, USB_NET, num_labels, method))


@functools.cache
def _numbers() -> dict[tuple[str, str, str, int, str], Number]:
    lines = (files(__package__) / "published.csv").read_text(encoding="utf-8").splitlines()
    return {
        (r["table"], r["dataset"], r["net"], int(r["labels"]), r["method"]): Number(
            float(r["error"]),
            float(r["std"]) if r["std"] else None,
            r["note"],
            USB if r["table"] == "usb" else PAPER,
            r["net"],
        )
        for r in csv.DictReader(lines)
    }

"""The published numbers against the paper's own prose, and against the configurations here."""

import csv
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from metasemi_plugin.config.yaml_files import read_yaml
from metasemi_plugin.experiments.published import PAPER, USB, paper, usb

CONFIG = Path(__file__).parents[2] / "config"
METHODS = {"Supervised": "supervised", "Mean Teacher": "meanteacher", "Pi-model": "pimodel",
           "VAT": "vat", "MixMatch": "mixmatch"}  # fmt: skip
ROWS = list(
    csv.DictReader((files("metasemi_plugin.experiments") / "published.csv").read_text().split("\n"))
)


def test_as_many_numbers_as_the_paper_has_and_none_twice():
    assert Counter(row["table"] for row in ROWS) == {
        "table1": 54, "table2": 22, "table3": 4, "table4": 15, "table5": 16, "table6": 18,
        "appendix_d": 1, "usb": 18,
    }  # fmt: skip
    cells = [tuple(row[key] for key in ("table", "dataset", "net", "labels", "method"))
             for row in ROWS]  # fmt: skip
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize(
    ("cell", "error", "std"),
    [
        (("table1", "cifar10", "cnn13", 4000, "Meta-Semi"), 7.05, 0.27),
        (("table1", "cifar10", "cnn13", 1000, "MT + Fast SWA"), 15.58, None),
        (("table2", "cifar10", "wrn_28_2", 250, "MixMatch"), 11.08, 0.87),
        (("table3", "stl10", "wrn_var_37_2", 1000, "Meta-Semi"), 8.03, 0.24),
        (("table4", "svhn", "cnn13", 500, "SNTG"), 3.99, 0.24),
        (("table5", "cifar100", "cnn13", 10000, "ICT, 5.0 h"), 33.43, None),
        (("table6", "cifar100", "cnn13", 4000, "Reweighting with -1 and 1"), 45.41, 0.38),
    ],
)
def test_numbers_of_the_paper(cell, error, std):
    number = paper(*cell)
    assert (number.error, number.std, number.source) == (error, std, PAPER)


# Section 4.2 and Table 5 say by how much: a check on what was copied.
@pytest.mark.parametrize(
    ("dataset", "labels", "worse", "better", "gap"),
    [
        ("cifar10", 1000, "ICT", "Meta-Semi", 2.17),
        ("cifar10", 4000, "ICT", "Meta-Semi", 0.13),
        ("cifar100", 4000, "ICT", "Meta-Semi", 2.46),
        ("cifar10", 2000, "Meta-Semi", "Meta-Semi + ICT", 1.37),
    ],
)
def test_gaps_that_the_text_names(dataset, labels, worse, better, gap):
    a, b = (paper("table1", dataset, "cnn13", labels, method).error for method in (worse, better))
    assert a - b == pytest.approx(gap)


def test_the_longest_time_of_table_5_is_the_rivals_whole_training():
    for net, table, rival, hours in (
        ("cnn13", "table1", "ICT", 12.6),
        ("wrn_28_2", "table2", "MixMatch", 29.2),
    ):
        in_time = paper("table5", "cifar100", net, 10000, f"{rival}, {hours} h")
        assert in_time.error == paper(table, "cifar100", net, 10000, rival).error


@pytest.mark.parametrize(
    "cell",
    [
        ("table1", "cifar100", "cnn13", 4000, "VAT"),  # a dash in the paper
        ("table2", "cifar10", "wrn_28_2", 4000, "ICT"),
        ("table1", "cifar10", "wrn_28_2", 4000, "Meta-Semi"),
        ("table1", "cifar10", "cnn13", 250, "Meta-Semi"),
        ("table1", "cifar10", "cnn13", 4000, "Meta-Semi, mixup_beta 0.5"),
        ("table5", "cifar100", "cnn13", 10000, "ICT"),
        ("table7", "cifar10", "cnn13", 4000, "Meta-Semi"),
    ],
)
def test_what_is_no_cell_of_the_paper_has_no_number(cell):
    assert paper(*cell) is None


def test_usb_has_its_net_and_its_suspect():
    number = usb("cifar10", 250, "MixMatch")
    assert number == (37.28, 0.61, "", USB, "wrn_28_2")
    assert usb("cifar10", 250, "Meta-Semi") is None
    assert usb("cifar10", 500, "MixMatch") is None
    for dataset, labels in (("cifar10", 250), ("cifar10", 4000), ("cifar100", 10000)):
        teacher, supervised = (usb(dataset, labels, m) for m in ("Mean Teacher", "Supervised"))
        assert abs(teacher.error - supervised.error) < min(teacher.std, supervised.std)
        assert teacher.note == "suspect: equals Supervised"
    assert "extra images" in usb("svhn", 1000, "VAT").note


def test_usb_s_cells_are_cells_of_ours():
    ours = set()
    for method, folder in METHODS.items():
        for path in (CONFIG / folder).glob("*.yaml"):
            found = read_yaml(path)
            ours.add((method, found["dataset"].value, str(found["num_labels"].value)))
    theirs = {(r["method"], r["dataset"], r["labels"]) for r in ROWS if r["table"] == "usb"}
    assert theirs <= ours

"""Pictures with intervals; Student's t has a closed form for 2 degrees of freedom."""

import math

import pytest

from metasemi_plugin.experiments.report import intervals, numbers
from metasemi_plugin.experiments.report.drawing import picture_of
from metasemi_plugin.experiments.report.write import write

T_2 = 4.302653


@pytest.fixture
def runs(entry):
    """Three seeds with 250 and 1000 labels, and a row of one seed."""
    errors = {"Meta-Semi": [10, 12, 14], "ICT": [12, 15, 18]}
    entries = [
        entry(row, seed, [error / share], column=column, config={"num_labels": num_labels})
        for column, num_labels, share in (("few", 250, 1), ("many", 1000, 2))
        for row, of_row in errors.items()
        for seed, error in enumerate(of_row)
    ]
    return [entry("Once", 0, [30.0], column="few"), *entries]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are made."""
    figures = []

    def seen(figure, *texts):
        figures.append(figure)
        return picture_of(figure, *texts)

    monkeypatch.setattr(intervals, "picture_of", seen)
    return figures


def bars(figure):
    """Of each line its intervals, as their two ends."""
    return [
        [segment.tolist() for lines in container[2] for segment in lines.get_segments()]
        for container in figure.axes[0].containers
    ]


def test_differences_with_their_intervals(runs, drawn):
    lines = numbers.runs(runs)
    (picture,) = intervals.differences("few", lines[lines["column"] == "few"], "Meta-Semi")
    half = T_2 / math.sqrt(3)  # gaps of 2, 3 and 4
    ((bar,),) = bars(drawn[0])
    assert [x for x, _ in bar] == pytest.approx([3 - half, 3 + half])
    assert f"ICT +3.00 ({3 - half:+.2f} to {3 + half:+.2f})." in picture.alt
    assert "Once" not in picture.alt  # one seed has no interval


def test_no_differences_without_two_shared_seeds(entry):
    lines = numbers.runs([entry("Meta-Semi", 0, [5.0]), entry("ICT", 0, [6.0])])
    assert list(intervals.differences("few", lines, "Meta-Semi")) == []
    assert list(intervals.differences("few", lines, "Z")) == []


def test_error_against_labels_with_its_interval(runs, drawn):
    (picture,) = intervals.by_labels(numbers.cells(numbers.runs(runs)))
    assert picture.name == "error-by-labels-cifar10-wrn_28_2"
    found = dict(zip(("Meta-Semi", "ICT"), bars(drawn[0]), strict=True))
    few, many = found["ICT"]
    half = T_2 * 3 / math.sqrt(3)
    assert few == [pytest.approx([250, 15 - half]), pytest.approx([250, 15 + half])]
    assert many == [pytest.approx([1000, 7.5 - half / 2]), pytest.approx([1000, 7.5 + half / 2])]
    assert "ICT: 15.00 % with 250, 7.50 % with 1000" in picture.alt
    assert "Once" not in picture.alt


def test_one_number_of_labels_is_no_line(entry):
    assert list(intervals.by_labels(numbers.cells(numbers.runs([entry("ICT", 0, [5.0])])))) == []


def test_a_report_has_them(runs, entry, tmp_path):
    """Even if some of its runs were never started."""
    write([*runs, entry("VAT", 0, column="many", status="missing")], tmp_path, "T", [])
    names = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert {"difference-few", "difference-many", "error-by-labels-cifar10-wrn_28_2"} <= names
    assert all(name in (tmp_path / "report.html").read_text() for name in names)

"""The arithmetic of the tables, on records made by hand."""

import math

import pandas as pd
import pytest

from metasemi_plugin.experiments.report import numbers


def curve(test, validation=None, seconds=None):
    frame = pd.DataFrame({"it": range(1, len(test) + 1), "eval": validation or test})
    frame["seconds"] = seconds or [10.0 * it for it in frame["it"]]
    return frame if validation is None else frame.assign(test=test)


def test_errors_are_those_of_the_record_on_test_where_there_are_test_images(entry):
    both = entry("A", 0, [9.0, 4.0, 6.0], validation=[8.0, 7.0, 5.0])
    assert numbers.errors(both.record.run) == both.record.run["test"] != both.record.run["eval"]
    validated = entry("A", 0, [9.0, 4.0], chosen_on="validation")
    assert numbers.errors(validated.record.run) == validated.record.run["eval"]
    assert validated.record.run["test"] is None
    assert numbers.errors({}) == numbers.errors(entry("A", 0, []).record.run) == {}


@pytest.mark.parametrize(
    ("seconds", "expected"), [(9.9, math.nan), (10, 30.0), (29, 20.0), (30, 10.0), (1e9, 10.0)]
)
def test_error_at_a_time_is_that_of_the_last_evaluation_until_then(seconds, expected):
    got = numbers.at_time(curve([30.0, 20.0, 10.0]), seconds)
    assert got == pytest.approx(expected, nan_ok=True)


def test_the_common_time_is_what_all_complete_runs_of_a_column_reached(entry):
    entries = [
        entry("A", 0, [30, 20, 10], step=10),
        entry("B", 0, [40, 25], step=13),
        entry("B", 1, [90], step=1, status="cut off"),
        entry("A", 0, [50, 45], step=1, column="other"),
    ]
    assert numbers.common_time(entries[:3]) == 26
    assert numbers.common_time(entries[2:3]) is None
    runs = numbers.runs(entries)
    assert runs["time"].tolist() == [26, 26, 26, 2]
    assert runs["error_at_time"].tolist() == [20, 25, 90, 45]
    runs = numbers.runs(entries, budget=13.5)
    assert runs["error_at_time"].tolist() == [30, 40, 90, 45]


def test_cells_are_means_and_sample_deviations_of_complete_runs(entry):
    entries = [
        entry("A", 0, [30, 10]),
        entry("A", 1, [30, 16]),
        entry("A", 2, [30, 13]),
        entry("B", 0, [30, 5]),
        entry("B", 1, [30, 99], status="failed"),
        entry("B", 2, status="missing"),
        entry("C", 0, status="missing"),
    ]
    cells = numbers.cells(numbers.runs(entries)).set_index("row")
    assert cells["n"].to_dict() == {"A": 3, "B": 1, "C": 0}
    assert cells["runs"].to_dict() == {"A": 3, "B": 3, "C": 1}
    assert cells.loc["A", "error_last"] == 13
    assert cells.loc["A", "error_last_std"] == pytest.approx(3)  # not 2.45, the population's
    assert cells.loc["B", "error_last"] == 5
    assert math.isnan(cells.loc["B", "error_last_std"])
    assert math.isnan(cells.loc["C", "error_last"])
    assert cells.loc["A", "peak_memory_mb"] == 902
    assert cells.loc["A", "seconds_per_iteration"] == pytest.approx(0.1)


def test_values_that_vary_are_cells_of_their_own(entry):
    entries = [entry("A", 0, [b], varied={"mixup_beta": b}) for b in (1.0, 0.5)]
    cells = numbers.cells(numbers.runs(entries))
    assert cells["varied"].tolist() == ["mixup_beta=1.0", "mixup_beta=0.5"]
    assert cells["error_last"].tolist() == [1.0, 0.5]


def paired(entry, **rows):
    entries = [entry(row, seed, [e]) for row, es in rows.items() for seed, e in enumerate(es) if e]
    return numbers.paired(numbers.runs(entries), "A")


def test_differences_seed_by_seed(entry):
    """Student's t has closed forms for 1 and 2 degrees of freedom."""
    found = paired(entry, B=[12, 15, 18], A=[10, 12, 14], C=[9, 13, None], D=[None, None, 3])
    assert list(found.index) == ["B", "C", "D"]
    assert found["n"].tolist() == [3, 2, 1]
    assert found["mean"].tolist() == pytest.approx([3, 0, -11])
    half = 4.302653 * 1 / math.sqrt(3)  # gaps of 2, 3, 4
    assert found.loc["B", ["low", "high"]].tolist() == pytest.approx([3 - half, 3 + half])
    half = 12.706205 * math.sqrt(2) / math.sqrt(2)  # of -1, 1
    assert found.loc["C", ["low", "high"]].tolist() == pytest.approx([-half, half])
    t = 3 * math.sqrt(3)
    assert found.loc["B", "p"] == pytest.approx(2 * (1 - t / math.sqrt(2 + t**2)))
    assert found.loc["C", "p"] == 1
    assert found.loc["D", ["low", "high", "p"]].isna().all()


def test_holm_counts_the_rows_that_are_left_and_never_goes_down(entry):
    rows = {"B": [2, 0, 1], "C": [2, 1, 2.5], "D": [5, 4.6, 5.4]}
    gaps = {"A": [10, 10, 10]} | {k: [10 + gap for gap in gaps] for k, gaps in rows.items()}
    alone = {name: paired(entry, A=gaps["A"], B=gaps[name]).loc["B", "p"] for name in rows}
    assert alone["D"] < alone["C"] < alone["B"]
    found = paired(entry, **gaps)["p"]
    assert found["D"] == pytest.approx(3 * alone["D"])
    assert found["C"] == pytest.approx(2 * alone["C"])
    assert found["B"] == pytest.approx(max(alone["B"], 2 * alone["C"]))
    assert (found <= 1).all()


def test_what_cannot_be_compared_has_no_line(entry):
    entries = [entry("A", 0, [5.0]), entry("A", 1, [6.0], status="failed")]
    entries += [entry("B", 1, [7.0])]  # no seed that both have completed
    entries += [entry("C", 0, [7.0], chosen_on="validation")]
    assert numbers.paired(numbers.runs(entries), "A").empty
    assert numbers.paired(numbers.runs(entries), "Z").empty
    same = paired(entry, A=[5, 6], B=[5, 6], C=[6, 7])
    assert same["p"].tolist() == [1, 0]


def test_mean_curve_keeps_the_iterations_that_all_seeds_have():
    long, short = curve([10.0, 6.0, 5.0]), curve([20.0, 8.0], seconds=[30.0, 40.0])
    got = numbers.mean_curve([long, short], "eval")
    assert got.index.tolist() == [1, 2]
    assert got["mean"].tolist() == [15.0, 7.0]
    assert got["std"].tolist() == pytest.approx([math.sqrt(50), math.sqrt(2)])
    assert got["seconds"].tolist() == [20.0, 30.0]
    assert numbers.mean_curve([long], "eval")["std"].tolist() == [0, 0, 0]
    assert numbers.mean_curve([long], "train/kept").empty


def test_mean_curve_of_what_is_measured_now_and_then():
    some = curve([1.0, 1.0, 1.0]).assign(ratio=[2.0, None, 4.0])
    assert numbers.mean_curve([some, some], "ratio")["mean"].to_dict() == {1: 2.0, 3: 4.0}

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


def leader(entry, **rows):
    entries = [entry(row, seed, [e]) for row, es in rows.items() for seed, e in enumerate(es)]
    cells = numbers.cells(numbers.runs(entries))
    found = numbers.leader(cells, "error_last")
    return None if found is None else cells["row"][found]


def test_the_best_leads_only_by_more_than_the_spread(entry):
    # Deviations of 3 and 4: the gap must exceed 5.
    ours = [7.0, 10.0, 13.0]
    assert leader(entry, A=ours, B=[11.0, 15.0, 19.0]) is None
    assert leader(entry, A=ours, B=[11.1, 15.1, 19.1]) == "A"
    assert leader(entry, B=[11.1, 15.1, 19.1], A=ours, C=[90, 90, 90]) == "A"
    assert leader(entry, A=ours) is None
    mixed = [entry("A", s, [e]) for s, e in enumerate(ours)]
    mixed += [entry("B", s, [50.0 + s], chosen_on="validation") for s in (0, 1)]
    assert numbers.leader(numbers.cells(numbers.runs(mixed)), "error_last") is None
    assert leader(entry, A=[1.0], B=ours) is None  # one run has no spread
    assert leader(entry, A=[1.0, 1.1], B=[50.0]) is None


def test_who_has_not_finished_neither_leads_nor_is_beaten(entry):
    def with_missing(row):
        runs = [entry("A", s, [e]) for s, e in enumerate((1.0, 1.1))]
        runs += [entry("B", s, [e]) for s, e in enumerate((50.0, 50.1))]
        cells = numbers.cells(numbers.runs([*runs, entry(row, 2, status="missing")]))
        return numbers.leader(cells, "error_last")

    assert with_missing("A") is None
    assert with_missing("B") is None
    assert with_missing("C") == 0


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

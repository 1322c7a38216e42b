import gc

import pytest

from metasemi_plugin.bench import timing
from metasemi_plugin.bench.step import summarize

# Seconds of two steps in three rounds; in the second round the machine was busy.
TIMES = {"plain": [1.0, 8.0, 2.0], "ours": [2.0, 12.0, 3.4]}


def test_statistics_of_hand_made_times():
    assert timing.median_ms(TIMES, "ours") == pytest.approx(3400)
    assert timing.ratios(TIMES, "ours", "plain") == pytest.approx([2.0, 1.5, 1.7])
    assert timing.ratio(TIMES, "ours", "plain") == pytest.approx(1.7)


def test_ratio_is_taken_within_a_round():
    times = {"plain": [1.0, 8.0, 2.0], "ours": [2.0, 12.0, 9.0]}
    assert timing.ratio(times, "ours", "plain") == pytest.approx(2.0)  # not 9 / 2


def test_columns():
    row = summarize(TIMES, "ours", "plain")
    assert row == {
        "median_ms": pytest.approx(3400),
        "ratio_to_plain": pytest.approx(1.7),
        "ratio_range": pytest.approx([1.5, 2.0]),
    }


def test_each_round_runs_every_step_once_and_starts_one_further(monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # which takes its time
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = timing.interleaved(steps, rounds=4)
    assert "".join(calls) == "abcbcacababc"
    assert {name: len(t) for name, t in times.items()} == {"a": 4, "b": 4, "c": 4}
    assert all(t > 0 for row in times.values() for t in row)

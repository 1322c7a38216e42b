import sys

import pytest
import torch

from metasemi_plugin.bench import step, train_steps
from metasemi_plugin.bench.setting import Setting

TINY = Setting("tiny:net", img_size=8, batch_size=3, ulb_batch_size=4, threads=1, device="cpu")


@pytest.fixture(autouse=True)
def _memory_in_no_time(monkeypatch):
    peaks = {"plain": 10.0, "unrolled": 50.0, "forward": 14.0}
    monkeypatch.setattr(step, "peak_mb", lambda setting, method: peaks[method])


def test_rows():
    methods = ["unrolled", "forward"]
    plain, *rows = step.measure(TINY, methods, rounds=2, reference=True, memory=True)
    keys = {"method", "median_ms", "ratio_to_plain", "ratio_range", "extra_memory_mb",
            "max_rel_diff", "sign_agreement", "max_rel_diff_raw", "sign_agreement_raw",
            "error"}  # fmt: skip
    assert all(set(row) == keys for row in (plain, *rows))
    assert [row["method"] for row in (plain, *rows)] == ["plain", "unrolled", "forward"]
    assert plain["ratio_to_plain"] == 1.0
    assert plain["extra_memory_mb"] == 0.0
    assert plain["max_rel_diff"] is None
    for row, extra in zip(rows, (40.0, 4.0), strict=True):
        assert row["extra_memory_mb"] == extra
        assert 0 < row["max_rel_diff"] < 1e-5
        assert row["sign_agreement"] == 1.0
        assert 0 < row["max_rel_diff_raw"] < 1e-4
        assert row["sign_agreement_raw"] == 1.0
        assert row["error"] is None


def test_reference_and_memory_can_be_left_out():
    rows = step.measure(TINY, ["forward"], rounds=1, reference=False, memory=False)
    for row in rows:
        assert row["median_ms"] is not None
        assert row["max_rel_diff"] is row["sign_agreement"] is row["extra_memory_mb"] is None


def test_a_library_that_is_missing_has_no_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "higher", None)
    _, row = step.measure(TINY, ["higher"], rounds=1, reference=False, memory=True)
    assert row["error"].startswith("ModuleNotFoundError: ")
    assert "higher" in row["error"]
    assert [value for value in row.values() if value is not None] == ["higher", row["error"]]


def test_compare():
    expected = torch.tensor([4.0, -2.0, 1e-5, 1.0], dtype=torch.float64)
    v = torch.tensor([4.0, -1.0, -1e-5, -1.0], dtype=torch.float64)
    got = step.compare(v, expected)
    assert got["max_rel_diff"] == pytest.approx(2 / 4)
    # The third is too close to 0 to have a sign; of the others one is wrong.
    assert got["sign_agreement"] == pytest.approx(2 / 3)


def test_whole_train_steps():
    rows = train_steps.measure(TINY, ["metasemi", "mixmatch", "no_such_thing"], rounds=1)
    assert [row["algorithm"] for row in rows] == [
        "supervised", "metasemi", "mixmatch", "no_such_thing"
    ]  # fmt: skip
    assert rows[0]["ratio_to_supervised"] == 1.0
    assert all(row["error"] is None for row in rows[:3])
    assert rows[3]["error"] == "UserError: there is no such algorithm"
    assert rows[3]["median_ms"] is None


def test_a_train_step_updates_the_weights(monkeypatch):
    built = []
    from metasemi_plugin.host import on_device

    monkeypatch.setattr(on_device, "on_device", _remember(on_device.on_device, built))
    run = train_steps._step(TINY, "metasemi")
    before = [p.detach().clone() for p in built[0].model.parameters()]
    run()
    assert all(
        not torch.equal(a, b) for a, b in zip(before, built[0].model.parameters(), strict=True)
    )


def test_supervised_is_given_as_many_images():
    def sizes(*views):
        batch = train_steps._batch(TINY, views)
        return {key: len(value) for key, value in batch.items()}

    assert sizes() == {"x_lb": 7, "y_lb": 7, "idx_ulb": 4}
    assert sizes("x_ulb_w") == {"x_lb": 3, "y_lb": 3, "idx_ulb": 4, "x_ulb_w": 4}


def _remember(on_device, built):
    def remembering(name):
        def build(*args):
            built.append(on_device(name)(*args))
            return built[-1]

        return build

    return remembering

import pytest

from metasemi_plugin.bench import operators
from metasemi_plugin.bench.setting import Setting

TINY = Setting("tiny:net", img_size=8, batch_size=3, ulb_batch_size=4, threads=1, device="cpu")


def test_rows_add_up(monkeypatch):
    monkeypatch.setattr(operators, "LARGEST", 3)
    rows = operators.measure(TINY)
    assert len(rows) == 5
    assert [row["operator"] for row in rows[3:]] == ["other", "total"]
    for method in operators.COMPARED:
        *parts, total = (row[method] for row in rows)
        assert total > 0
        assert sum(parts) == pytest.approx(total)
    largest = [max(row[m] for m in operators.COMPARED) for row in rows[:3]]
    assert largest == sorted(largest, reverse=True)


def test_convolutions_are_there(monkeypatch):
    monkeypatch.setattr(operators, "LARGEST", 1000)
    names = {row["operator"]: row for row in operators.measure(TINY)}
    assert names["convolution_backward"]["plain"] > 0
    assert names["leaky_relu_backward"]["forward"] > 0

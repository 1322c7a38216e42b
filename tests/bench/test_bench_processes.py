import pytest
from tiny import net

from metasemi_plugin.bench import processes, report
from metasemi_plugin.bench.setting import Setting
from metasemi_plugin.errors import UserError

SETTING = Setting("tiny:net", img_size=16, batch_size=4, ulb_batch_size=12, device="cpu")


def test_a_step_of_two_processes_and_what_they_say():
    rows = {row["method"]: row for row in processes.measure(SETTING, count=2, rounds=2)}
    assert list(rows) == ["plain", "forward"]
    weights = sum(p.numel() for p in net(num_classes=10).parameters())
    # The gradient that is trained on and the number of kept samples; the labeled gradient.
    assert rows["plain"]["megabytes"] == pytest.approx((weights + 1) * 4 / 1e6)
    assert rows["forward"]["megabytes"] == pytest.approx((2 * weights + 1) * 4 / 1e6)
    for row in rows.values():
        assert 0 < row["communication"] < 1
        assert 0 <= row["waiting"] < 1
    record = report.record(SETTING, 2, [], [], processes=list(rows.values()))
    assert "| forward mode, ours, 2 processes |" in report.markdown([record])


def test_one_process_is_named():
    with pytest.raises(UserError, match=r"--nproc: .* at least 2, not 1"):
        processes.measure(SETTING, count=1, rounds=1)

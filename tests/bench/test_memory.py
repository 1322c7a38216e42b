import torch

from metasemi_plugin.bench import memory
from metasemi_plugin.bench.setting import Setting


def test_peak_is_the_greatest_total_at_a_time():
    mb = 2**20 // 4  # numbers of 4 bytes

    def run():
        a = torch.empty(3 * mb)
        b = torch.empty(2 * mb)
        del a
        c = torch.empty(1 * mb)
        del b, c

    assert memory._peak_on_cpu(run) == 5 * 2**20


def test_of_one_step_in_a_process_of_its_own():
    setting = Setting("tiny:net", img_size=16, batch_size=3, ulb_batch_size=4, device="cpu")
    peak = memory.peak_mb(setting, "forward")
    outputs = 7 * (6 * 8 * 8 + 8 * 4 * 4) * 4 / 2**20  # of the two convolutions, float32
    assert outputs < peak < 50 * outputs

import pytest
import torch

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.device import cuda_means, resolve_device


def test_cuda_is_read_as_the_device_and_only_inside():
    with cuda_means(torch.device("meta")):
        assert torch.ones(2).cuda().device.type == "meta"
        assert torch.ones(2).cuda(3, non_blocking=True).device.type == "meta"
        assert torch.ones(2).double().dtype == torch.float64
    assert torch.ones(2).device.type == "cpu"


def test_on_cuda_the_hosts_own_calls_stand():
    torch.ones(2)
    with cuda_means(torch.device("cuda", 0)) as mode:
        assert mode is None


def test_auto_is_cuda_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "none of auto, cpu"), ("xpu", "none of auto"), ("cuda:99", "no 'cuda:99' on this")],
)
def test_a_device_that_is_not_there_is_named(name, message):
    with pytest.raises(UserError, match=message):
        resolve_device(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="gpu: no CUDA device")
def test_a_run_on_cuda(tiny_run):
    from metasemi_plugin import train

    assert train(**tiny_run(device="cuda"))["iterations"] == 6

"""Where tensors live: semilearn says ``.cuda()`` everywhere, this reads it as ``.to(device)``."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.overrides import TorchFunctionMode

from metasemi_plugin.distributed import collectives, process_group
from metasemi_plugin.errors import UserError


def resolve_device(name: str) -> torch.device:
    """The device that the option ``device`` names; of several processes each has a GPU of its own.

    Raises:
        UserError: not a device, or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps") from None
    here = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if device.type not in here:
        raise UserError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps")
    if (device.index or 0) >= here[device.type]:
        raise UserError(f"device: there is no {name!r} on this machine; use --device cpu or auto")
    return device if collectives.world_size() == 1 else _one_of(device, here)


def _one_of(device: torch.device, here: dict[str, int]) -> torch.device:
    """This process's own."""
    if device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise UserError(
            "device: several processes use cpu or cuda, each one GPU; use --device auto"
        )
    index = process_group.local_rank()
    if index >= here["cuda"]:
        raise UserError(
            f"device: there are {here['cuda']} GPUs for more processes: start one for each GPU, or "
            "use --device cpu"
        )
    return torch.device("cuda", index)


class _CudaMeans(TorchFunctionMode):
    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cuda:
            return args[0].to(self.device)
        return func(*args, **(kwargs or {}))


def cuda_means(device: torch.device) -> AbstractContextManager:
    """A block in which ``tensor.cuda(...)`` moves the tensor to ``device``.

    On CUDA the host's own calls stand.
    """
    return nullcontext() if device.type == "cuda" else _CudaMeans(device)

"""What a run was made with: sources, packages, machine."""

import platform
import subprocess
from pathlib import Path

import torch

import metasemi_plugin
from metasemi_plugin import machine
from metasemi_plugin.distributed import collectives

PACKAGES = ("torch", "torchvision", "semilearn", "timm")


def checkout() -> dict[str, object]:
    """Commit of the package's sources, and whether they differ from it; None where not known."""

    def git(*words: str) -> str:
        here = Path(__file__).parent.parent
        found = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        found.check_returncode()
        return found.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not another project's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "-s", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def versions() -> dict[str, str]:
    """Of Python, this package and what it computes with."""
    return {
        "python": platform.python_version(),
        **{package: machine.package_version(package) for package in PACKAGES},
        "metasemi_plugin": metasemi_plugin.__version__,
    }


def hardware(device: torch.device) -> dict[str, object]:
    """What the run computes on."""
    name, memory = machine.cpu_name(), machine.memory_gb()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        name, memory = gpu.name, gpu.total_memory / 2**30
    return {
        "device": str(device),
        "name": name,
        "cores": machine.cpu_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory, 1),
        "processes": collectives.world_size(),
    }


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far in MiB: allocated on CUDA, else resident, of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return machine.peak_memory_mb()

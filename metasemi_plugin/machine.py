"""What a measurement was made on: the machine and the versions."""

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil


def cpu_info() -> dict[str, str]:
    """Of /proc/cpuinfo, the last CPU's entry; empty where there is no such file."""
    path = Path("/proc/cpuinfo")  # on Linux only
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (ln.partition(":") for ln in lines)}


def cpu_name() -> str:
    """The CPU's model."""
    return cpu_info().get("model name") or platform.processor() or platform.machine()


def cpu_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> float:
    """Main memory in GiB."""
    return psutil.virtual_memory().total / 2**30


def peak_memory_mb() -> float:
    """The most main memory that this process has had, in MiB; on macOS what it has now."""
    status = Path("/proc/self/status")  # on Linux only
    if status.exists():
        return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024
    now = psutil.Process().memory_info()
    return getattr(now, "peak_wset", now.rss) / 2**20


def package_version(package: str) -> str:
    """Of an installed distribution."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

"""torch's profiler, on machines with and without a GPU."""

import os

from torch.profiler import ProfilerActivity, profile


def cpu_profile(**options) -> profile:
    """The profiler of what happens on the CPU, to be used as ``with cpu_profile() as profiler``."""
    # On a machine without a GPU it would complain that there is none.
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    return profile(activities=[ProfilerActivity.CPU], **options)

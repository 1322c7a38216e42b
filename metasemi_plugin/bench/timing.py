"""Times of several steps side by side, and the ratios between them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping

import torch

Times = dict[str, list[float]]


def interleaved(steps: Mapping[str, Callable[[], object]], rounds: int, calls: int = 1) -> Times:
    """Seconds of each step in each round.

    A round runs every step once, and each round begins one step further, so that whatever else
    the machine does meets all of them alike.

    Args:
        steps: what to time, by name.
        rounds: at least 1.
        calls: how many in a row, see `seconds`.
    """
    names = list(steps)
    times: Times = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            times[name].append(seconds(steps[name], calls))
    return times


def median_ms(times: Times, name: str) -> float:
    """Milliseconds."""
    return 1e3 * statistics.median(times[name])


def ratios(times: Times, name: str, base: str) -> list[float]:
    """How much longer ``name`` took than ``base``, round by round."""
    return [a / b for a, b in zip(times[name], times[base], strict=True)]


def ratio(times: Times, name: str, base: str) -> float:
    """The median over the rounds of the ratio within a round."""
    return statistics.median(ratios(times, name, base))


def seconds(step: Callable[[], object], calls: int = 1) -> float:
    """Of one call; of several in a row, as training makes them, the mean."""
    gc.collect()  # what another step left behind is not this one's
    gc.disable()  # a collection takes as long as a step of a small net
    try:
        synchronize()
        started = time.perf_counter()
        for _ in range(calls):
            step()
        synchronize()
        return (time.perf_counter() - started) / calls
    finally:
        gc.enable()


def synchronize() -> None:
    """A clock is read when the device has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()

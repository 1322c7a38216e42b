"""Kill training again and again, and see that nothing is lost: ``python tests/torture.py``.

Every algorithm is trained without a break, and once more with SIGKILL at random moments: at random
times, and at random points within the writing of files. It is resumed each time. Both must come to
the same checkpoints, metrics and record, bit for bit. What differs is printed, and the exit status
is 1 then.
"""

import argparse
import importlib
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so there are no threads to fork

import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny import TINY_RUN

import metasemi_plugin
from metasemi_plugin.run_folder import checkpoint, layout

INTERVAL = 3  # iterations between two checkpoints
RUN = TINY_RUN | {
    "num_train_iter": 84,
    "num_eval_iter": 9,
    "num_save_iter": INTERVAL,
    "num_labels": 40,
    "num_val": 100,
}
# What no two runs have in common.
TIMES = (
    "started", "ended", "sittings", "seconds", "statistics_seconds", "seconds_per_iteration",
    "peak_memory_mb", "config", "git",
)  # fmt: skip


class Result(NamedTuple):
    """Of one algorithm: iterations lost in the worst case, and what differs, or ""."""

    kills: int
    lost: int
    different: str


def torture(algorithm: str, folder: Path, kills: int, seconds: float, chance: random.Random):
    """Train ``algorithm`` straight and with so many kills; fewer where the time is over."""
    options = RUN | {"algorithm": algorithm, "save_dir": str(folder)}
    until = time.monotonic() + seconds
    began = time.monotonic()
    sitting(options | {"save_name": "straight"})
    length = time.monotonic() - began
    cut = options | {"save_name": "cut"}
    done = lost = 0
    while done < kills and (done == 0 or time.monotonic() < until):
        if done % 2:
            reached = sitting(cut, write=chance.randint(1, 25))
        else:
            reached = sitting(cut, seconds=chance.uniform(0, length / 15))
        if reached is None:  # it has come to its end
            break
        done += 1
        lost = max(lost, reached - saved(folder / "cut"))
    sitting(cut)
    return Result(done, lost, difference(folder / "straight", folder / "cut"))


def sitting(options: dict, seconds: float | None = None, write: int | None = None) -> int | None:
    """Train in a process of its own until its end, or until it is killed.

    Args:
        options: of the run; it is resumed if there is something to resume.
        seconds: of training after which it is killed.
        write: its so-manieth operation on a file, at which it kills itself.

    Returns:
        How many iterations it had done when it was killed, or None.

    Raises:
        RuntimeError: it failed.
    """
    folder = Path(options["save_dir"]) / options["save_name"]
    resume = layout.has_checkpoint(folder)
    begun = saved(folder)
    shared = mmap.mmap(-1, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads: see above
        pid = os.fork()
    if pid == 0:
        in_child(options | {"resume": resume, "overwrite": not resume}, shared, write, folder)
    if seconds is not None:
        while not shared[:8].strip(b"\0") and not _over(pid):
            time.sleep(0.001)
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return max(begun, int.from_bytes(shared[:8], "little") - 1)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError((folder.parent / f"{folder.name}.log").read_text())
    return None


def _over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def in_child(options: dict, shared: mmap.mmap, write: int | None, folder: Path) -> None:
    """Train; never returns."""
    log = folder.parent / f"{folder.name}.log"
    sys.stdout = sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115
    try:
        watch(shared)
        if write is not None:
            kill_at(write)
        metasemi_plugin.train(**options)
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)


def watch(shared: mmap.mmap) -> None:
    """Have every step begin by noting how many have been done, and one more."""
    from metasemi_plugin.host.hooks import PositionsHook

    def note(self, algorithm):
        shared[:8] = (algorithm.it + 1).to_bytes(8, "little")

    PositionsHook.before_train_step = note


def kill_at(number: int) -> None:
    """Kill this process as it begins its so-manieth call that changes what is on the disk."""
    left = [number]

    def deadly(call: Callable) -> Callable:
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapped

    for name in ("fsync", "replace"):
        setattr(os, name, deadly(getattr(os, name)))


def saved(folder: Path) -> int:
    """The iteration that the run would go on from."""
    for name in (checkpoint.LATEST, checkpoint.PREVIOUS):
        if (folder / name).exists():
            return checkpoint.verified(folder / name)[1]["it"]
    return 0


def difference(one: Path, other: Path) -> str:
    """Where two run folders differ, or ""."""
    for name in (checkpoint.LATEST, checkpoint.PREVIOUS, layout.BEST):
        pair = [checkpoint.verified(folder / name)[1] for folder in (one, other)]
        for contents in pair:
            contents.pop("settings")  # the name of the run
            for key in TIMES:
                contents["record"].pop(key, None)
            for key in [k for k in contents["record"]["logged"] if k.endswith("prefetch_time")]:
                contents["record"]["logged"].pop(key)
        if where := unequal(*pair, name):
            return where
    for read in (metrics, record):
        if read(one) != read(other):
            return read.__name__
    return ""


def unequal(a, b, where: str) -> str:
    """Where two values differ, or ""."""
    if type(a) is not type(b):
        return where
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        return "" if same and a.numpy().tobytes() == b.numpy().tobytes() else where
    if isinstance(a, dict):
        if list(a) != list(b):
            return where
        a, b = list(a.items()), list(b.items())
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return where
        pairs = zip(a, b, strict=True)
        return next(
            (w for i, (x, y) in enumerate(pairs) if (w := unequal(x, y, f"{where}/{i}"))), ""
        )
    return "" if a == b else where


def metrics(folder: Path) -> list[dict]:
    """metrics.jsonl without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "train/prefetch_time")}
        for line in lines
    ]


def record(folder: Path) -> dict:
    """run.json without times."""
    return {
        k: v for k, v in json.loads((folder / "run.json").read_text()).items() if k not in TIMES
    }


def main() -> int:
    """Run the command line; returns the exit status: 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15, help="in all (default: 15)")
    parser.add_argument("--kills", type=int, default=20, help="of each algorithm (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("algorithms", nargs="*", help="default: all")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    metasemi_plugin.register()
    from metasemi_plugin.host.views import supported_algorithms

    for module in ("host.runner", "host.curves", "host.checks", "data.digits"):
        importlib.import_module(f"metasemi_plugin.{module}")  # once, and not in every child
    importlib.import_module("sklearn.datasets")
    torch.set_num_threads(1)
    if args.minutes < 10:
        RUN["num_train_iter"] = 27  # which leaves room for a few kills only
    names = args.algorithms or supported_algorithms()
    chance = random.Random(args.seed)
    width = max(map(len, names))
    print(f"{'algorithm':{width}}  kills  lost iterations  identical", flush=True)
    lossless = True
    for number, name in enumerate(names):
        share = (end - time.monotonic()) / (len(names) - number)
        with tempfile.TemporaryDirectory() as folder:
            result = torture(name, Path(folder), args.kills, share, chance)
        identical = f"no: {result.different}" if result.different else "yes"
        print(f"{name:{width}}  {result.kills:5}  {result.lost:15}  {identical}", flush=True)
        lossless &= not result.different and result.lost <= INTERVAL
    print(f"checkpoints every {INTERVAL} iterations: {'nothing' if lossless else 'MORE'} lost")
    return 0 if lossless else 1


if __name__ == "__main__":
    sys.exit(main())

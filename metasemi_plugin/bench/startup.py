"""What commands cost before they do anything: CPU seconds, as wall time depends on the load."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metasemi_plugin.markdown_table import markdown_table

ROOT = Path(__file__).parents[2]
TORCH = ("-c", "import torch, torchvision")
MODULE = ("-m", "metasemi_plugin")
TRAIN = (*MODULE, "train", "--dataset", "digits")


def rows(folder: str) -> dict[str, tuple[str, ...]]:
    """What is measured: name -> words after "python"."""
    Path(folder, "there").mkdir()
    Path(folder, "there", "photo.png").touch()
    taken = ("--save_dir", folder, "--save_name", "there")
    run = ("--save_dir", folder, "--num_train_iter", "1", "--num_labels", "10", "--eval_batch_size",
           "512", "--net", "cnn13_slim", "--img_size", "8", "--device", "cpu")  # fmt: skip
    return {
        "import torch, torchvision": TORCH,
        "train --help": (*MODULE, "train", "--help"),
        "train --help metasemi": (*MODULE, "train", "--help", "metasemi"),
        "ls algorithms": (*MODULE, "ls", "algorithms"),
        "ls configs": (*MODULE, "ls", "configs"),
        "train, a wrong key": (*TRAIN, "--sed", "1"),
        "train, no such file": (*MODULE, "train", "--c", "gone.yaml"),
        "train, the folder exists": (*TRAIN, *taken),
        "validate, no such suite": (*MODULE, "validate", "gone.yaml"),
        "validate": (*MODULE, "validate", str(ROOT / "config/suites/digits.yaml")),
        "report, nothing there": (*MODULE, "report", folder),
        "train, one iteration": (*TRAIN, *run),
    }


def measure(rounds: int) -> str:
    """Markdown: median CPU seconds of each command, alternating, and their ratio to torch's."""
    with tempfile.TemporaryDirectory() as folder:
        commands = rows(folder)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, words in commands.items():
                with _counted(seconds[name]):
                    subprocess.run([sys.executable, *words], capture_output=True, cwd=ROOT)
                for made in Path(folder).glob("metasemi_*"):
                    made.rename(Path(folder, f"made_{len(list(Path(folder).iterdir()))}"))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    torch = medians["import torch, torchvision"]
    return markdown_table(
        ("command", "CPU seconds", "import torch, torchvision = 1"),
        [(name, f"{median:.2f}", f"{median / torch:.2f}") for name, median in medians.items()],
    )


@contextmanager
def _counted(seconds: list[float]) -> Iterator[None]:
    before = os.times()
    yield
    after = os.times()
    user = after.children_user - before.children_user
    seconds.append(user + after.children_system - before.children_system)

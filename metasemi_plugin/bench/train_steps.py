"""The table of algorithms: whole training steps of Meta-Semi and of others, as ratios.

A step is `train_step` and the host's hook that goes backward and updates the parameters; loading
the data, the moving average and the logs are none of it. `supervised` is given B + U labeled
images, the number that the others are given.
"""

from collections.abc import Callable, Sequence

import torch

import metasemi_plugin
from metasemi_plugin.bench import timing
from metasemi_plugin.bench.setting import NUM_CLASSES, Setting
from metasemi_plugin.bench.step import one_line, summarize
from metasemi_plugin.errors import UserError

ALGORITHMS = ("supervised", "metasemi", "ict", "mixmatch", "meanteacher", "vat", "fixmatch")


def measure(setting: Setting, algorithms: Sequence[str], rounds: int) -> list[dict]:
    """One row an algorithm, all in this process, the first step of each not timed.

    Args:
        setting: what to measure on; `warmup_steps` plays no part.
        algorithms: names; "supervised" comes first, asked for or not.
        rounds: how many to time.

    Returns:
        Rows with the keys algorithm, median_ms, ratio_to_supervised, ratio_range, error.
    """
    setting.set_threads()
    rows: dict[str, dict] = {}
    steps: dict[str, Callable[[], None]] = {}
    for name in ("supervised", *(a for a in algorithms if a != "supervised")):
        numbers = ("median_ms", "ratio_to_supervised", "ratio_range", "error")
        rows[name] = {"algorithm": name, **dict.fromkeys(numbers)}
        try:
            run = _step(setting, name)
            run()
        except Exception as error:  # an algorithm that is not there, or fails on this net
            if name == "supervised":
                raise
            rows[name]["error"] = one_line(error)
        else:
            steps[name] = run
    times = timing.interleaved(steps, rounds)
    for name in steps:
        rows[name] |= summarize(times, name, "supervised")
    return list(rows.values())


def _step(setting: Setting, name: str) -> Callable[[], None]:
    """One training step of the algorithm on one batch, as a function."""
    metasemi_plugin.register()
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device
    from metasemi_plugin.host.runner import no_host_warnings
    from metasemi_plugin.host.views import supported_algorithms

    if name not in supported_algorithms():
        raise UserError("there is no such algorithm")
    args = setting.run(name)
    torch.manual_seed(0)
    with no_host_warnings():
        algorithm = on_device(name)(args, net_builder(args), None, _Silent())
    algorithm.call_hook("before_run", "EMAHook")
    algorithm.model.train()
    views = algorithm.dataset_dict["train_ulb"].views
    batch = algorithm.process_batch(**_batch(setting, list(views)))

    def run() -> None:
        algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
        algorithm.call_hook("after_train_step", "ParamUpdateHook")

    return run


def _batch(setting: Setting, views: Sequence[str]) -> dict[str, torch.Tensor]:
    """Images of noise: the labeled ones, and these views of the unlabeled ones."""

    def images(number: int) -> torch.Tensor:
        return torch.randn(number, 3, setting.img_size, setting.img_size)

    # The algorithm that wants no view, supervised, is given as many images with labels.
    lb = setting.batch_size + (0 if views else setting.ulb_batch_size)
    return {
        "x_lb": images(lb),
        "y_lb": torch.arange(lb) % NUM_CLASSES,
        "idx_ulb": torch.arange(setting.ulb_batch_size),
        **{key: images(setting.ulb_batch_size) for key in views},
    }


class _Silent:
    """In place of a logger: the host says a lot while it builds."""

    def info(self, *args) -> None:
        """Nothing."""

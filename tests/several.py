"""Runs and steps that the tests of several processes make on each of them.

Functions here are called on ranks; see `processes.on_ranks`.
"""

import functools
import math
import os
import signal
import warnings
from pathlib import Path

import torch
from tiny import TINY_RUN
from torch import nn

from metasemi_plugin.distributed import collectives

# 8 labeled and 24 unlabeled images, for 1, 2 and 4 processes. A net without BatchNorm.
RUN = TINY_RUN | {
    "batch_size": 8,
    "net": "several:net",
    "num_train_iter": 10,
    "num_eval_iter": 10,
    "lr": 0.2,
}


class Net(nn.Module):
    """Two convolutions whose outputs are large enough that meta-gradients have both signs."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.Conv2d(6, 8, 3, stride=2), nn.Tanh()
        )
        self.classifier = nn.Linear(8, num_classes)
        self.num_features = 8

    def forward(self, x, only_fc=False, only_feat=False, **kwargs):
        if only_fc:
            return self.classifier(x)
        feat = self.body(x.to(self.classifier.weight.dtype)).mean(dim=(2, 3))  # in evaluation
        return feat if only_feat else {"logits": self.classifier(feat), "feat": feat}

    def group_matcher(self, coarse=False, prefix=""):
        return {"blocks": rf"^{prefix}body\.(\d+)"}


def net(num_classes, pretrained=False, pretrained_path=None, **kwargs):
    return Net(num_classes)


def bn_net(num_classes, pretrained=False, pretrained_path=None, **kwargs):
    model = Net(num_classes)
    first, _, second, _ = model.body
    first.bias = second.bias = None
    model.body = nn.Sequential(
        first, nn.BatchNorm2d(6), nn.Tanh(), second, nn.BatchNorm2d(8), nn.Tanh()
    )
    return model


def quiet() -> None:
    """Set up a rank for a run: as pytest is, see pyproject.toml and conftest.py."""
    import metasemi_plugin

    os.environ.pop("RANK", None)
    warnings.filterwarnings("ignore", message=r".*GradScaler", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*GradScaler", category=UserWarning)
    warnings.filterwarnings("ignore", category=ResourceWarning)
    metasemi_plugin.register()


def built(options: dict):
    from metasemi_plugin import random_numbers
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device

    quiet()
    args = resolve(None, options)
    random_numbers.seed_all(args.seed)
    algorithm = on_device(args.algorithm)(args, net_builder(args))
    algorithm.print_fn = lambda *_: None
    return algorithm


def steps(options: dict) -> dict:
    """Train in double precision; what has come of it, and the masks of all samples.

    Masks are in the order of the samples of one process: (iterations, B + U).
    """
    algorithm = built(options)
    algorithm.model.double()
    algorithm.ema_model.double()
    if hasattr(algorithm, "ensemble"):
        algorithm.ensemble = algorithm.ensemble.double()
    to_device, step = algorithm.to_device, algorithm.train_step
    masks, logs = [], []

    def double(batch):
        found = to_device(batch)
        return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}

    @functools.wraps(step)
    def noting(**batch):
        out, log = step(**batch)
        if (gradient := out.get("meta_gradient")) is not None:
            lengths = len(batch["x_lb"]), len(batch["x_ulb_w"])
            masks.append(collectives.all_gather((gradient <= 0).long(), *lengths))
        return out, log

    from metasemi_plugin.host.hooks import Hook

    class Note(Hook):
        def before_run(self, algorithm):
            # Where the teacher is the student, an image that is mixed with itself has a gradient
            # of 0, and rounding decides whether it is kept.
            chance = torch.Generator().manual_seed(1)
            for name, p in algorithm.ema.shadow.items():
                algorithm.ema.shadow[name] = p + 0.3 * torch.randn(
                    p.shape, generator=chance, dtype=p.dtype
                ).to(p.device)

        def after_train_step(self, algorithm):
            loss = algorithm.out_dict["loss"].item()
            logged = {k: v for k, v in algorithm.log_dict.items() if not k.endswith("_time")}
            logs.append({"loss": loss, **logged})

    algorithm.to_device, algorithm.train_step = double, noting
    algorithm.register_hook(Note(), "Note", "LOWEST")
    before = {k: v.clone() for k, v in algorithm.model.state_dict().items()}
    algorithm.train()
    return {
        "before": before,
        "model": algorithm.model.state_dict(),
        "ema": algorithm.ema.shadow,
        "statistics": {k: v for k, v in algorithm.ema.statistics.items() if "running" in k},
        "masks": torch.stack(masks) if masks else None,
        "logs": logs,
        "ensemble": getattr(algorithm, "ensemble", None),
        "history": algorithm.run_state.history,
    }


def run(options: dict, event=None) -> dict | str:
    """Train in a run folder; the summary, or what was raised, as text.

    Args:
        options: of the run.
        event: called with the algorithm before each step.
    """
    from metasemi_plugin import train
    from metasemi_plugin.errors import Interrupted, UserError
    from metasemi_plugin.host.hooks import WallClockHook

    quiet()
    if event is not None:
        wait = WallClockHook.before_train_step

        def before_train_step(self, algorithm):
            wait(self, algorithm)
            event(algorithm)

        WallClockHook.before_train_step = before_train_step
    try:
        return train(**options)
    except (UserError, Interrupted) as error:
        return f"{type(error).__name__}: {error}"


def killed(algorithm, rank: int, at: int) -> None:
    if collectives.rank() == rank and algorithm.it == at:
        os.kill(os.getpid(), signal.SIGKILL)


def signalled(algorithm, rank: int, at: int) -> None:
    if collectives.rank() == rank and algorithm.it == at:
        os.kill(os.getpid(), signal.SIGTERM)


def poisoned(algorithm, rank: int, at: int) -> None:
    """A NaN in the weights of one process, for one step."""
    if collectives.rank() == rank and algorithm.it == at:
        step = algorithm.train_step

        @functools.wraps(step)
        def bad(**batch):
            out, log = step(**batch)
            out["loss"] = out["loss"] * math.nan
            algorithm.train_step = step
            return out, log

        algorithm.train_step = bad


def trained(options: dict, event=None, names=None) -> dict | list[dict]:
    """Train outside of a run folder; what the model has come to, and how many steps were bad.

    Args:
        options: of the run.
        event: called with the algorithm before each step.
        names: of algorithms to train one after the other, in place of that of the options.
    """
    if names is not None:
        return [trained(options | {"algorithm": name}, event) for name in names]
    from metasemi_plugin.host.hooks import Hook

    class Event(Hook):
        def before_train_step(self, algorithm):
            if event is not None:
                event(algorithm)

    algorithm = built(options)
    algorithm.register_hook(Event(), "Event", "LOWEST")
    before = {k: v.clone() for k, v in algorithm.model.named_parameters()}
    algorithm.train()
    after = dict(algorithm.model.named_parameters())
    assert any(not torch.equal(p, before[name]) for name, p in after.items())
    kept = {k: v for k, v in algorithm.get_save_dict().items() if isinstance(v, torch.Tensor)}
    parameters = {name: p.detach() for name, p in after.items()}
    return {"parameters": parameters, "kept": kept, "bad": algorithm.run_state.bad_steps}


def evaluated(options: dict) -> dict:
    """What an untrained net scores, on validation and test set."""
    algorithm = built(options)
    algorithm.call_hook("before_run")
    return algorithm.evaluate("eval", return_logits=True) | algorithm.evaluate("test")


class Deadly(Net):
    """Ends rank 1 in a step of torchrun's first attempt."""

    passes = 0

    def forward(self, x, **kwargs):
        self.passes += self.training
        first = (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0")
        if self.passes == 20 and first:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x, **kwargs)


def deadly_net(num_classes, pretrained=False, pretrained_path=None, **kwargs):
    return Deadly(num_classes)


def stuck() -> None:
    """Rank 0 waits for a message that does not come, and is told to stop."""
    import threading
    import time
    from types import SimpleNamespace

    from metasemi_plugin.host import stopping

    stopping.STUCK = 0.5
    if collectives.rank():
        time.sleep(6)
        return
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with stopping.stopping_on_signals(SimpleNamespace(stop_requested=False)):
        collectives.all_reduce_([torch.zeros(1)])


def saved(folder) -> dict:
    from metasemi_plugin.run_folder import checkpoint

    return checkpoint.verified(Path(folder) / checkpoint.LATEST)[1]

"""What is measured on: a backbone, its two mixed batches, and the machine's part in it.

Shapes: B labeled and U unlabeled images of 3 x H x H pixels, C = 10 classes.
"""

import argparse
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metasemi_plugin
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.mixup import mixup

NUM_CLASSES = 10
DTYPES = {"fp32": None, "bf16": torch.bfloat16}
WRONG = 0.25  # share of the pseudo labels that name a wrong class, so that both signs occur


class Batches(NamedTuple):
    """X~ and U~: images (B, 3, H, H) and (B + U, 3, H, H), targets (B, C) and (B + U, C)."""

    x_lb: Tensor
    y_lb: Tensor
    x_ulb: Tensor
    y_ulb: Tensor


class Setting(NamedTuple):
    """One configuration of the benchmark, small enough to be sent to another process.

    Args:
        net: a backbone, as the option ``net`` of a run names it.
        width: passed to the backbone's builder; None leaves the builder's own.
        dtype: "fp32", or "bf16" for float32 parameters under bfloat16 autocast, as in training.
        img_size: H, pixels.
        batch_size: B.
        ulb_batch_size: U.
        threads: of the CPU; None leaves torch's own choice.
        device: as the option ``device`` of a run.
        warmup_steps: plain training steps before anything is measured.
    """

    net: str = "cnn13_slim"
    width: int | None = None
    dtype: str = "fp32"
    img_size: int = 32
    batch_size: int = 25
    ulb_batch_size: int = 75
    threads: int | None = None
    device: str = "auto"
    warmup_steps: int = 0

    def __str__(self) -> str:
        width = "" if self.width is None else f" width {self.width}"
        return f"{self.net}{width} {self.dtype}"

    @property
    def floor(self) -> float:
        """The least that exact forward mode costs, as a ratio to plain.

        A pass forward is 1, backward 2, a tangent beside a forward pass 2 (x'*W and x*W'); all
        times the images: (3B + 5(B+U)) / (3B + 3(B+U)).
        """
        lb, ulb = self.batch_size, self.batch_size + self.ulb_batch_size
        return (3 * lb + 5 * ulb) / (3 * lb + 3 * ulb)

    def run(self, algorithm: str, **more: object) -> argparse.Namespace:
        """The configuration of a training run of ``algorithm``; the digits stand in for its data.

        Args:
            algorithm: its name.
            more: other options of the run.

        Raises:
            UserError: an option that no run can have.
        """
        metasemi_plugin.register()
        from metasemi_plugin.host.config import resolve

        options: dict[str, object] = {
            "algorithm": algorithm,
            "dataset": "digits",
            "num_classes": NUM_CLASSES,
            "net": self.net,
            "net_args": {} if self.width is None else {"width": self.width},
            "img_size": self.img_size,
            "device": self.device,
            "amp": self.dtype != "fp32",
            "amp_dtype": "bfloat16",
            **more,
        }
        return resolve(None, options)

    def precision(self) -> AbstractContextManager:
        """Autocast as in training, without its cache of weights."""
        dtype = DTYPES[self.dtype]
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.torch_device().type, dtype, cache_enabled=False)

    def torch_device(self) -> torch.device:
        """Raises UserError if there is no such device."""
        metasemi_plugin.register()
        from metasemi_plugin.host.device import resolve_device

        return resolve_device(self.device)

    def set_threads(self) -> None:
        """Of the whole process."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def build(setting: Setting) -> tuple[nn.Module, Batches]:
    """The backbone in train mode and its batches; the same numbers each time it is called.

    Raises:
        UserError: no such backbone or device.
    """
    args = setting.run("metasemi")
    from metasemi_plugin.host.nets import net_builder

    torch.manual_seed(0)
    model = net_builder(args)(num_classes=NUM_CLASSES, pretrained=False, pretrained_path=None)
    device = setting.torch_device()
    model.to(device, memory_format=torch.channels_last).train()
    colors = torch.randn(NUM_CLASSES, 3, 1, 1)  # what tells one class from another
    _train(model, setting, colors)
    return model, _draw(setting, colors)


def _draw(setting: Setting, colors: Tensor) -> Batches:
    """Mixed batches of noise around the colors of the classes."""
    lb, ulb = setting.batch_size, setting.ulb_batch_size
    classes = torch.randint(NUM_CLASSES, (lb + ulb,))
    x = colors[classes] + torch.randn(lb + ulb, 3, setting.img_size, setting.img_size)
    wrong = (torch.arange(lb + ulb) >= lb) & (torch.rand(lb + ulb) < WRONG)
    y = F.one_hot((classes + wrong) % NUM_CLASSES, NUM_CLASSES).to(x.dtype)
    mixed_lb, mixed_ulb = mixup(x[:lb], y[:lb], 0.5), mixup(x, y, 0.5)
    device = setting.torch_device()
    return Batches(
        mixed_lb.x.to(device, memory_format=torch.channels_last),
        mixed_lb.y.to(device),
        mixed_ulb.x.to(device, memory_format=torch.channels_last),
        mixed_ulb.y.to(device),
    )


def _train(model: nn.Module, setting: Setting, colors: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(setting.warmup_steps):
        batches = _draw(setting, colors)
        with setting.precision():
            loss = sample_losses(model(batches.x_ulb), batches.y_ulb).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()

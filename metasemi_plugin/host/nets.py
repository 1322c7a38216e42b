"""From the option ``net`` to the host's kind of builder."""

import functools
import importlib
import tempfile
from collections.abc import Callable

import torch
from semilearn import nets as host_nets
from semilearn.core.utils import get_net_builder
from torch import nn

from metasemi_plugin.config.values import unknown
from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError
from metasemi_plugin.meta_gradient import meta_gradient
from metasemi_plugin.nets import BACKBONES
from metasemi_plugin.nets.channels import of_channels
from metasemi_plugin.nets.timm_net import timm_builder
from metasemi_plugin.nets.weights import evaluated


def net_builder(args) -> Callable:
    """builder(num_classes, pretrained, pretrained_path) for ``args.net``.

    ``net`` is a name that the host's ``get_net_builder`` knows (cnn13 and cnn13_slim are among them
    after ``register()``), ``timm/NAME``, or ``package.module:function`` of your own.

    Raises:
        UserError: no such backbone.
    """
    builder = _named(args)

    def build(**kwargs):
        try:
            net = builder(**kwargs, **of_channels(builder, args.channels), **args.net_args)
        except UserError:
            raise
        except Exception as error:  # of somebody else's code
            takes = f"does not take {args.net_args}" if args.net_args else "cannot be built"
            name = "net_args" if args.net_args else "net"
            raise UserError(f"{name}: {args.net!r} {takes}: {_first_line(error)}") from error
        if not isinstance(net, nn.Module):
            raise UserError(f"net: {args.net!r} builds {net!r}, which is no torch.nn.Module")
        if any(map(nn.parameter.is_lazy, (*net.parameters(), *net.buffers()))):
            raise UserError(
                f"net: {args.net!r} has lazy layers: pass one image through it where it is built"
            )
        return net

    return build


def rehearse(net: nn.Module, args) -> None:
    """What a training step does with the net, on two images or the one of a batch; not kept.

    Raises:
        UserError: the net cannot be trained.
    """
    if any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in net.modules()
    ):
        raise UserError(
            f"net: {args.net!r} has BatchNorm without running statistics, which evaluation needs"
        )
    count = min(2, args.batch_size // collectives.world_size())
    x = torch.randn(count, args.channels, args.img_size, args.img_size)
    y = torch.full((count, args.num_classes), 1 / args.num_classes)
    try:
        net.train()(x)
        method = getattr(args, "meta_gradient", None)
        if method and getattr(args, "weights", None) != "ones":
            meta_gradient(net, x, y, x, y, method=method)
    except Exception as error:
        raise UserError(
            f"net: {args.net!r} fails in training, on {count} images: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _named(args) -> Callable:
    if args.net.startswith("timm/"):
        return timm_builder(args.net.removeprefix("timm/"), args.img_size)
    if ":" in args.net:
        module, function = args.net.split(":", 1)
        try:
            return getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"net: cannot import {args.net!r}: {error}") from error
    check_name(args.net)
    builder = get_net_builder(args.net, from_name=False)
    if args.net in BACKBONES:
        return builder
    build = _with_evaluated_weights(builder)
    of_host = builder.__module__.startswith("semilearn.")
    return _with_channels(build, args.net) if of_host else build


def _with_channels(builder: Callable, name: str) -> Callable:
    """The host's builders for images of any number of channels."""

    def build(pretrained: bool = False, in_channels: int = 3, **kwargs):
        if pretrained and in_channels != 3:
            raise UserError(
                f"use_pretrain: the pretrained weights of {name} are for images of 3 channels, not "
                f"{in_channels}; those of timm/NAME are adapted to them"
            )
        if name.startswith("vit_") and in_channels != 3:
            return builder(pretrained=pretrained, in_chans=in_channels, **kwargs)
        net = builder(pretrained=pretrained, **kwargs)
        if in_channels != 3:
            first = net.conv1
            net.conv1 = nn.Conv2d(
                in_channels, first.out_channels, first.kernel_size, first.stride, first.padding,
                bias=first.bias is not None,
            )  # fmt: skip
            # As the host's WideResNet and ResNet do it.
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out")
        return net

    return build


def _with_evaluated_weights(builder: Callable) -> Callable:
    """The host's builders take the student of a checkpoint."""

    @functools.wraps(builder)
    def build(pretrained: bool = False, pretrained_path: str | None = None, **kwargs):
        if not (pretrained and pretrained_path):
            return builder(pretrained=pretrained, pretrained_path=pretrained_path, **kwargs)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/evaluated.pth"
            torch.save({"model": evaluated(pretrained_path, "pretrain_path")}, path)
            return builder(pretrained=True, pretrained_path=path, **kwargs)

    return build


def check_name(net: str) -> None:
    """Whether ``net`` may be one: what timm or another module makes of it, it says itself.

    Raises:
        UserError: no such backbone.
    """
    names = backbone_names()
    if not net.startswith("timm/") and ":" not in net and net not in names:
        raise UserError(f"net: {unknown(net, names)} (or timm/NAME, or module:function)")


def backbone_names() -> list[str]:
    """Image backbones that ``net`` names, sorted: the host's and those registered with it."""
    text_and_speech = ("bert", "wave2vec", "hubert")
    return sorted(
        name
        for name, value in vars(host_nets).items()
        if callable(value) and not name.startswith(("_", *text_and_speech))
    )

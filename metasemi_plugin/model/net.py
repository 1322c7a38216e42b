"""From what a model folder says to the net."""

import importlib
from argparse import Namespace
from collections.abc import Callable

from torch import nn

from metasemi_plugin.errors import UserError
from metasemi_plugin.model.description import Description
from metasemi_plugin.nets import BACKBONES
from metasemi_plugin.nets.channels import of_channels
from metasemi_plugin.nets.timm_net import timm_builder


def build(model: Description) -> nn.Module:
    """The net, with weights of its own.

    Raises:
        UserError: what it is built by is not here.
    """
    try:
        builder = _builder(model)
        return builder(num_classes=len(model.classes), pretrained=False, pretrained_path="",
                       **of_channels(builder, model.channels), **model.net_args)  # fmt: skip
    except UserError:
        raise
    except Exception as error:  # of somebody else's code
        raise UserError(
            f"the backbone {model.net!r} of the model cannot be built: {error}"
        ) from error


def _builder(model: Description) -> Callable:
    if model.net in BACKBONES:
        return BACKBONES[model.net]
    if model.net.startswith("timm/"):
        return timm_builder(model.net.removeprefix("timm/"), model.img_size)
    if ":" in model.net:
        module, function = model.net.split(":", 1)
        return getattr(importlib.import_module(module), function)
    try:
        nets = importlib.import_module("metasemi_plugin.host.nets")
    except ImportError as error:
        raise UserError(
            f"the backbone {model.net!r} of the model is semilearn's, which is not installed: pip "
            "install semilearn"
        ) from error
    of_host = Namespace(
        net=model.net, net_args={}, img_size=model.img_size, channels=model.channels
    )
    return nets.net_builder(of_host)

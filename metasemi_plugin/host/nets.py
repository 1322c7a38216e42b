"""From the option ``net`` to the host's kind of builder."""

import importlib
from collections.abc import Callable

from semilearn import nets as host_nets
from semilearn.core.utils import get_net_builder
from torch import nn

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import unknown
from metasemi_plugin.nets.timm_net import timm_builder
from metasemi_plugin.nets.weights import evaluated
from metasemi_plugin.options import Option

OPTIONS = [
    Option("net_args", dict, {}, "keyword arguments for the backbone's builder, e.g. {width: 64}"),
]


def net_builder(args) -> Callable:
    """builder(num_classes, pretrained, pretrained_path) for ``args.net``.

    ``net`` is a name that the host's ``get_net_builder`` knows (cnn13 and cnn13_slim are among them
    after ``register()``), ``timm/NAME``, or ``package.module:function`` of your own.

    Raises:
        UserError: no such backbone.
    """
    builder = _named(args)
    if not args.net_args:
        return builder

    def build(**kwargs):
        try:
            return builder(**kwargs, **args.net_args)
        except TypeError as error:
            raise UserError(
                f"net_args: {args.net!r} does not take {args.net_args}: {error}"
            ) from error

    return build


def start_from(model: nn.Module, args) -> None:
    """Load the weights of ``args.load_path``, if a run begins with them; all of them must fit.

    Raises:
        UserError: the file cannot be read, or is of another net.
    """
    if args.load_path is None or args.resume:
        return
    try:
        model.load_state_dict(evaluated(args.load_path, "load_path"))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UserError(
            f"load_path: {args.load_path!r} does not fit {args.net!r} ({reason}): check net, "
            "net_args and num_classes; use_pretrain and pretrain_path leave the classifier out"
        ) from error


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
    return get_net_builder(args.net, from_name=False)


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

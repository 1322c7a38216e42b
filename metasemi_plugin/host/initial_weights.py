"""Weights that a run begins with: the options ``load_path`` and ``init_from``."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from torch import nn

from metasemi_plugin import random_numbers
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.nets import net_builder
from metasemi_plugin.model import folder
from metasemi_plugin.nets.weights import evaluated


def start_from(model: nn.Module, args, classes: Sequence[str] | None = None) -> str | None:
    """Load them into the net of a run that is not resumed.

    Args:
        model: of which ``init_from`` leaves the classifier as it is where the classes are others,
            or not known yet.
        args: the options of the run.
        classes: names of the run's.

    Returns:
        A line on the model of ``init_from``.

    Raises:
        UserError: they cannot be read, or are of another net.
    """
    if args.resume:
        return None
    if args.load_path is not None:
        _from_checkpoint(model, args)
    return _from_model(model, args, classes) if args.init_from is not None else None


def _from_checkpoint(model: nn.Module, args) -> None:
    """The weights of ``args.load_path``; all of them must fit."""
    try:
        model.load_state_dict(evaluated(args.load_path, "load_path"))
    except RuntimeError as error:
        reason = shorten(str(error).splitlines()[1], 120)
        raise UserError(
            f"load_path: {args.load_path!r} does not fit {args.net!r} ({reason}): check net, "
            "net_args and num_classes; use_pretrain and pretrain_path leave the classifier out"
        ) from error


def _from_model(model: nn.Module, args, classes: Sequence[str] | None) -> str:
    """The weights of the model ``args.init_from``."""
    found, weights = folder.read(Path(args.init_from))
    same = classes is not None and list(classes) == list(found.classes)
    own = model.state_dict()
    if not same:
        with random_numbers.untouched():
            more = net_builder(args)(
                num_classes=args.num_classes + 1, pretrained=False, pretrained_path=""
            ).state_dict()
        weights |= {key: t for key, t in own.items() if t.shape != more[key].shape}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"init_from: the model {args.init_from} is of {found.net!r}, {found.net_args}: "
            "set net and net_args so"
        ) from error
    less = "" if same else f", without its classifier, whose classes are {', '.join(found.classes)}"
    return f"begins with the model {args.init_from} ({found.run['algorithm']}){less}"

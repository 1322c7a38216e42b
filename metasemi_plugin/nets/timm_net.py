"""Any classification model of timm (https://github.com/huggingface/pytorch-image-models).

Shapes: N images of H x W pixels in c channels, C classes, D features.
"""

import difflib
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from metasemi_plugin.errors import UserError
from metasemi_plugin.nets.weights import evaluated

PREFIX = "net."  # of the parameters of TimmNet.net


class TimmNet(nn.Module):
    """A timm model behind the host's interface.

    Args:
        name: its name, for messages.
        net: a model of timm that ends in one linear layer, as ``timm.create_model`` returns it.
        image_size: (H, W) that it is built for; None: any.
        in_channels: c.

    Raises:
        UserError: the model does not end in one linear layer.
    """

    def __init__(
        self,
        name: str,
        net: Any,
        image_size: tuple[int, int] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        head = net.get_classifier()
        if not isinstance(head, nn.Linear):
            raise UserError(
                f"timm model {name!r} ends in {type(head).__name__} where features and logits need "
                "one linear layer between them: choose another"
            )
        self.name = name
        self.net = net
        self.num_features = head.in_features
        self.in_channels = in_channels
        self.image_size = image_size

    def forward(
        self, x: Tensor, only_fc: bool = False, only_feat: bool = False, **kwargs: Any
    ) -> Tensor | dict[str, Tensor]:
        """The host's forward pass.

        Args:
            x: images (N, c, H, W); with only_fc features (N, D).
            only_fc: return the logits of these features, (N, C).
            only_feat: return the features, (N, D).

        Returns:
            {"logits": (N, C), "feat": (N, D)}, or one of the two.

        Raises:
            UserError: images of a shape that the model is not built for.
        """
        head = self.net.get_classifier()
        if only_fc:
            return head(x)
        feat = self.net.forward_head(self.extract(x), pre_logits=True)
        return feat if only_feat else {"logits": head(feat), "feat": feat}

    def extract(self, x: Tensor) -> Tensor:
        """Images (N, c, H, W) to the features before pooling, in a layout of the model's own.

        Raises:
            UserError: images of a shape that the model is not built for.
        """
        channels, *size = x.shape[1:]
        if channels != self.in_channels:
            raise UserError(
                f"timm model {self.name!r} takes {self.in_channels} channels, not {channels}: "
                "set channels"
            )
        if self.image_size is not None and tuple(size) != self.image_size:
            built, given = ("x".join(map(str, s)) for s in (self.image_size, size))
            raise UserError(
                f"timm model {self.name!r} is built for {built} pixels, not {given}: "
                "set img_size to the size of the images"
            )
        return self.net.forward_features(x)

    def no_weight_decay(self) -> list[str]:
        """Names of the parameters without weight decay, such as position embeddings.

        The host adds biases and all that has one dimension.
        """
        patterns: set[str] = getattr(self.net, "no_weight_decay", set)()
        return [
            PREFIX + name
            for name, _ in self.net.named_parameters()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]

    def group_matcher(self, coarse: bool = False, prefix: str = "") -> Callable[[str], float]:
        """timm's own layers for the host's layer decay, as a function of a parameter's name.

        Raises:
            UserError: timm defines none for this model.
        """
        from timm.models import group_parameters

        if not hasattr(self.net, "group_matcher"):
            raise UserError(f"timm model {self.name!r} has no layer groups: set layer_decay to 1")
        # Resolved here and not by the host, since timm's patterns do not bear a prefix.
        layers = group_parameters(self.net, self.net.group_matcher(coarse=coarse), reverse=True)
        layer_of = {prefix + PREFIX + name: layer for name, layer in layers.items()}
        return lambda name: layer_of.get(name, float("inf"))


def timm_builder(name: str, img_size: int | None = None) -> Callable[..., TimmNet]:
    """The builder of a timm model with the host's signature.

    Args:
        name: with or without the tag of its weights: ``resnet18``, ``resnet18.a1_in1k``.
        img_size: of the images; models of a fixed size are built for it, others do not mind.

    Returns:
        builder(num_classes=..., pretrained=..., pretrained_path=..., more arguments of timm's).

    Raises:
        UserError: no such model.
    """
    import timm

    known = timm.list_models() + timm.list_pretrained()
    if name not in known:
        near = difflib.get_close_matches(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has the names"
        raise UserError(f"timm has no model {name!r}; {hint}")

    def builder(
        pretrained: bool = False,
        pretrained_path: str | None = None,
        in_channels: int = 3,
        **kwargs: Any,
    ) -> TimmNet:
        """A :class:`TimmNet`.

        Args:
            pretrained: start from pretrained weights, all but a classifier of another size.
            pretrained_path: their file, as timm or the host saves it; without one, timm's own.
            in_channels: of the images; timm adapts pretrained weights of 3 channels to them.
            **kwargs: num_classes and more arguments of ``timm.create_model``.

        Raises:
            UserError: timm cannot build it so; weights that are missing or do not fit.
        """
        cfg: Any = timm.get_pretrained_cfg(name)
        image_size = None
        if cfg.fixed_input_size:
            image_size = (img_size, img_size) if img_size else cfg.input_size[-2:]
            kwargs = dict(**kwargs, img_size=image_size)
        if in_channels != cfg.input_size[0]:
            kwargs = dict(**kwargs, in_chans=in_channels)
        if not pretrained:
            net = _create(name, **kwargs)
        elif pretrained_path:
            net = _with_weights_of_file(name, pretrained_path, kwargs)
        else:
            net = _with_weights_of_timm(name, kwargs)
        return TimmNet(name, net, image_size, in_channels)

    return builder


def _create(name: str, **kwargs: Any) -> Any:
    import timm

    try:
        return timm.create_model(name, **kwargs)
    except OSError as error:
        raise UserError(
            f"cannot download timm's weights for {name!r}: connect to the internet once (they are "
            "cached), set pretrain_path to a file, or use_pretrain: false"
        ) from error
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in kwargs.items())
        raise UserError(
            f"timm cannot build {name!r} with {given} ({_last_line(error)}): "
            "change net_args, img_size or net"
        ) from error


def _with_weights_of_timm(name: str, kwargs: dict[str, Any]) -> Any:
    import timm

    if not timm.is_model_pretrained(name):
        raise UserError(f"timm has no weights for {name!r}: set pretrain_path or drop use_pretrain")
    return _create(name, pretrained=True, **kwargs)


def _with_weights_of_file(name: str, path: str, kwargs: dict[str, Any]) -> Any:
    import timm

    state = {k.removeprefix(PREFIX): t for k, t in evaluated(path, "pretrain_path").items()}
    random_numbers = torch.get_rng_state()
    fresh = _create(name, **kwargs)
    torch.set_rng_state(random_numbers)
    try:
        # timm's way from weights to a model: it adapts position embeddings and the classifier.
        net: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **kwargs
        )
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(
            f"pretrain_path: {path!r} holds no weights of timm model {name!r} "
            f"({_last_line(error)}); check the file and net"
        ) from error
    net.pretrained_cfg.pop("state_dict")  # else every copy of the net takes the weights along
    _check_complete(name, net, fresh, path)
    return net


def _check_complete(name: str, net: Any, fresh: nn.Module, path: str) -> None:
    # timm renames what it loads and then passes over what is missing. But a weight that equals
    # that of a net started from the same random numbers has not been loaded.
    classifier = {id(p) for p in net.get_classifier().parameters()}
    missing = [
        key
        for (key, p), start in zip(net.named_parameters(), fresh.parameters(), strict=True)
        if p.ndim > 1 and id(p) not in classifier and p.count_nonzero() and torch.equal(p, start)
    ]
    if missing:
        raise UserError(
            f"pretrain_path: {path!r} does not hold all weights of timm model {name!r} "
            f"(it has no {missing[0]!r}; {len(missing)} missing in all); check the file and net"
        )


def _last_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[-1].strip()

"""CNN-13, the 13-layer network that the semi-supervised papers share.

Laine & Aila, "Temporal Ensembling for Semi-Supervised Learning" (ICLR 2017), table 5; Tarvainen &
Valpola, "Mean teachers are better role models" (NeurIPS 2017). As in Meta-Semi's Appendix D there
is no Gaussian noise and no dropout unless asked for: the methods of 2017 have them. The sources
differ in weight normalization; here it is off.

Shapes: N images of H x W pixels in c channels, C classes, w = width.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from metasemi_plugin.errors import UserError
from metasemi_plugin.nets.weights import evaluated

# (channels as a multiple of the width, kernel size, padding); a 2x2 max-pool between the stages
STAGES = (
    ((1, 3, 1), (1, 3, 1), (1, 3, 1)),
    ((2, 3, 1), (2, 3, 1), (2, 3, 1)),
    ((4, 3, 0), (2, 1, 0), (1, 1, 0)),
)
# 12 pixels would leave the unpadded convolution a single position, and nothing to average over.
MIN_SIZE = 16
INITS = ("pytorch", "he")


class CNN13(nn.Module):
    """Nine convolutions, global average pooling and a linear layer, with the host's interface.

    Args:
        num_classes: C.
        width: channels of the first stage and length of the feature vector; the paper's is 128.
        weight_norm: w = g v / ||v|| in all layers, a norm for each output (Salimans & Kingma,
            NeurIPS 2016).
        dropout: probability after each max-pool; 0.5 in the networks of 2017.
        noise: standard deviation of Gaussian noise added to the images in training; 0.15 there.
        in_channels: of the images.
        init: "pytorch", its defaults, as in ICT's and fast-SWA's code; "he", as the host's
            WideResNet. BatchNorm cancels the scale of a convolution but not its effect on the size
            of a step: He's weights are 2.4 times as large, and the same learning rate takes steps
            several times smaller until weight decay has balanced them.

    Raises:
        UserError: another init.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 128,
        weight_norm: bool = False,
        dropout: float = 0.0,
        noise: float = 0.0,
        init: str = "pytorch",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise UserError(f"net_args: init must be one of {', '.join(INITS)}, not {init!r}")
        self.noise, self.in_channels = noise, in_channels
        stages, channels = [], in_channels
        for stage in STAGES:
            layers = []
            for multiple, kernel_size, padding in stage:
                layers.append(_conv_bn_act(channels, multiple * width, kernel_size, padding))
                channels = multiple * width
            stages.append(nn.Sequential(*layers))
        self.stage1, self.stage2, self.stage3 = stages
        self.pool = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))
        self.classifier = nn.Linear(width, num_classes)
        self.num_features = width
        if init == "he":
            self._initialize()
        if weight_norm:
            for module in list(self.modules()):
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    parametrizations.weight_norm(module)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
        nn.init.xavier_normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self, x: Tensor, only_fc: bool = False, only_feat: bool = False, **kwargs: Any
    ) -> Tensor | dict[str, Tensor]:
        """The host's forward pass.

        Args:
            x: images (N, c, H, W) with H, W >= 16; with only_fc features (N, w).
            only_fc: return the logits of these features, (N, C).
            only_feat: return the features, (N, w).

        Returns:
            {"logits": (N, C), "feat": (N, w)}, or one of the two.

        Raises:
            UserError: images that are too small or of another number of channels.
        """
        if only_fc:
            return self.classifier(x)
        feat = self.extract(x).mean((2, 3))
        return feat if only_feat else {"logits": self.classifier(feat), "feat": feat}

    def extract(self, x: Tensor) -> Tensor:
        """Images (N, c, H, W) to the feature maps before pooling, (N, w, H//4 - 2, W//4 - 2).

        Raises:
            UserError: images that are too small or of another number of channels.
        """
        channels, *size = x.shape[1:]
        if channels != self.in_channels or min(size) < MIN_SIZE:
            raise UserError(
                f"cnn13 takes images of {self.in_channels} channels and at least {MIN_SIZE}x"
                f"{MIN_SIZE} pixels, not of shape {tuple(x.shape[1:])}: set channels, or raise "
                "img_size"
            )
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        x = self.pool(self.stage1(x))
        x = self.pool(self.stage2(x))
        return self.stage3(x)

    def no_weight_decay(self) -> list[str]:
        """Names of the parameters without weight decay: BatchNorm and biases."""
        return [name for name, p in self.named_parameters() if p.ndim == 1]

    def group_matcher(self, coarse: bool = False, prefix: str = "") -> dict[str, str]:
        """Layers for the host's layer decay: one a convolution, or one a stage if coarse."""
        layer = r"stage(\d+)" if coarse else r"stage(\d+)\.(\d+)"
        return {"layers": f"^{re.escape(prefix)}{layer}"}


def cnn13(
    pretrained: bool = False,
    pretrained_path: str | None = None,
    in_channels: int = 3,
    **kwargs: Any,
) -> CNN13:
    """CNN-13 of width 128, the paper's.

    Args:
        pretrained: load all but the classifier from pretrained_path.
        pretrained_path: file or URL of a checkpoint of a run, whose teacher is taken.
        in_channels: of the images.
        **kwargs: more arguments of :class:`CNN13`.

    Raises:
        UserError: a checkpoint that is missing or does not fit.
    """
    model = CNN13(in_channels=in_channels, **kwargs)
    return _load(model, pretrained_path) if pretrained else model


def cnn13_slim(
    pretrained: bool = False,
    pretrained_path: str | None = None,
    in_channels: int = 3,
    **kwargs: Any,
) -> CNN13:
    """:func:`cnn13` of width 32, for CPUs."""
    return cnn13(pretrained, pretrained_path, in_channels, **{"width": 32, **kwargs})


def _conv_bn_act(in_channels: int, channels: int, kernel_size: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.1),
    )


def _load(model: CNN13, path: str | None) -> CNN13:
    if not path:
        raise UserError("cnn13 has no published weights: set pretrain_path or use_pretrain: false")
    state = evaluated(path, "pretrain_path")
    state = {key: value for key, value in state.items() if not key.startswith("classifier")}
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # of other sizes
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"pretrain_path: {path!r} is no checkpoint of this network ({reason}); "
            "check the file, net and net_args"
        ) from error
    missing = [key for key in missing if not key.startswith("classifier")]
    if missing:
        raise UserError(
            f"pretrain_path: {path!r} is no checkpoint of this network (it has no {missing[0]!r}; "
            f"{len(missing)} missing in all); check the file, net and net_args"
        )
    return model

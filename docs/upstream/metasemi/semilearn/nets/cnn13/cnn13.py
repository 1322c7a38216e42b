# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

import re

import torch.nn as nn
from semilearn.nets.utils import load_checkpoint

# (channels as a multiple of the width, kernel size, padding); a 2x2 max-pool between the stages
STAGES = (
    ((1, 3, 1), (1, 3, 1), (1, 3, 1)),
    ((2, 3, 1), (2, 3, 1), (2, 3, 1)),
    ((4, 3, 0), (2, 1, 0), (1, 1, 0)),
)


class CNN13(nn.Module):
    """
    CNN-13 (https://arxiv.org/abs/1610.02242, Table 5): nine convolutions, global average pooling
    and a linear layer; without noise, dropout and weight normalization. Images of at least 16x16.

    Args:
        num_classes: number of classes
        width: channels of the first stage and length of the features
    """

    def __init__(self, num_classes, width=128):
        super().__init__()
        stages, channels = [], 3
        for stage in STAGES:
            layers = []
            for multiple, kernel_size, padding in stage:
                layers.append(_conv_bn_act(channels, multiple * width, kernel_size, padding))
                channels = multiple * width
            stages.append(nn.Sequential(*layers))
        self.stage1, self.stage2, self.stage3 = stages
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Linear(width, num_classes)
        self.num_features = width

    def forward(self, x, only_fc=False, only_feat=False, **kwargs):
        """
        Args:
            x: input tensor, depends on only_fc and only_feat flag
            only_fc: only use classifier, input should be features before classifier
            only_feat: only return pooled features
        """
        if only_fc:
            return self.classifier(x)
        feat = self.extract(x).mean((2, 3))
        return feat if only_feat else {"logits": self.classifier(feat), "feat": feat}

    def extract(self, x):
        x = self.pool(self.stage1(x))
        x = self.pool(self.stage2(x))
        return self.stage3(x)

    def no_weight_decay(self):
        return [name for name, p in self.named_parameters() if p.ndim == 1]

    def group_matcher(self, coarse=False, prefix=""):
        layer = r"stage(\d+)" if coarse else r"stage(\d+)\.(\d+)"
        return {"layers": f"^{re.escape(prefix)}{layer}"}


def _conv_bn_act(in_channels, channels, kernel_size, padding):
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.1),
    )


def cnn13(pretrained=False, pretrained_path=None, **kwargs):
    model = CNN13(**kwargs)
    if pretrained:
        model = load_checkpoint(model, pretrained_path)
    return model

"""Runs and backbones small enough that a test trains them in milliseconds: ``net: tiny:net``."""

from torch import nn

TINY_RUN = {
    "dataset": "digits",
    "num_classes": 10,
    "num_labels": 40,
    "img_size": 16,
    "net": "tiny:net",
    "batch_size": 6,
    "uratio": 3,
    "eval_batch_size": 360,
    "num_train_iter": 6,
    "num_eval_iter": 3,
    "num_log_iter": 2,
    "optim": "SGD",
    "lr": 0.1,
    "ema_m": 0.9,
    "device": "cpu",
    "use_tensorboard": False,
    "seed": 3,
}


class Tiny(nn.Module):
    """Two convolutions with BatchNorm, dropout and an in-place activation; the host's interface."""

    def __init__(self, num_classes: int, dropout: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.1, inplace=True),
        )
        self.classifier = nn.Linear(8, num_classes)
        self.num_features = 8

    def forward(self, x, only_fc=False, only_feat=False, **kwargs):
        if only_fc:
            return self.classifier(x)
        feat = self.body(x).mean(dim=(2, 3))
        return feat if only_feat else {"logits": self.classifier(feat), "feat": feat}

    def group_matcher(self, coarse=False, prefix=""):
        return {"blocks": rf"^{prefix}body\.(\d+)"}


def net(num_classes, pretrained=False, pretrained_path=None, **kwargs):
    return Tiny(num_classes, **kwargs)

# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

import copy
import logging
from argparse import Namespace
from collections import OrderedDict

import torch
from semilearn.core import AlgorithmBase
from semilearn.core.hooks import EMAHook, ParamUpdateHook
from semilearn.lighting.trainer import Trainer
from torch import nn


class Toy(AlgorithmBase):
    """Least squares with a learning rate of 1/2: neither data nor a run of its own."""

    def __init__(self):
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.ema_model = copy.deepcopy(self.model)
        self.optimizer, self.scheduler = torch.optim.SGD(self.model.parameters(), lr=0.5), None
        self.use_amp, self.clip_grad, self.ema_m, self.resume = False, 0, 0.5, False
        self._hooks, self.hooks_dict = [], OrderedDict()
        self.register_hook(ParamUpdateHook(), None, "HIGHEST")
        self.register_hook(EMAHook(), None, "HIGH")

    def process_batch(self, **kwargs):
        return kwargs

    def train_step(self, x_lb, y_lb, x_ulb_w):
        return {"loss": 0.5 * (self.model(x_lb) - y_lb).pow(2).mean()}, {}

    def save_model(self, save_name, save_path):
        pass


def test_fit_trains():
    trainer = Trainer.__new__(Trainer)  # its __init__ asks for a GPU
    trainer.config = Namespace(epoch=1, num_train_iter=2)
    trainer.algorithm, trainer.logger, trainer.save_path = Toy(), logging.getLogger(), ""
    trainer.evaluate = lambda data_loader: {"acc": 0.0}
    lb, ulb = {"x_lb": torch.ones(1, 1), "y_lb": torch.ones(1, 1)}, {"x_ulb_w": torch.ones(1, 1)}

    trainer.fit([lb, lb], [ulb, ulb], [lb])

    assert trainer.algorithm.model.weight.item() == 0.75  # 0, 1/2, 3/4
    assert trainer.algorithm.ema.shadow["weight"].item() == 0.5  # 0, 1/4, 1/2

# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

import contextlib

import torch
from semilearn.algorithms.meanteacher import MeanTeacher
from semilearn.core.criterions import CELoss, ConsistencyLoss
from semilearn.core.utils import EMA, Bn_Controller
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2))

    def forward(self, x):
        return {"logits": x @ self.weight, "feat": x}


def step(ulb_loss_ratio):
    """One step of a student of four weights whose teacher differs from it; the ramp-up is over."""
    alg = MeanTeacher.__new__(MeanTeacher)  # neither data nor a run
    alg.model = Net()
    alg.ema = EMA(alg.model, 0.5)
    alg.ema.shadow = {"weight": torch.tensor([[1.0, 0.5], [-0.5, 2.0]])}
    alg.bn_controller = Bn_Controller()
    alg.amp_cm = contextlib.nullcontext
    alg.ce_loss, alg.consistency_loss = CELoss(), ConsistencyLoss()
    alg.lambda_u = ulb_loss_ratio
    alg.it = alg.num_train_iter = 1
    alg.init(unsup_warm_up=1.0)
    x_ulb = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    out_dict, log_dict = alg.train_step(torch.ones(1, 2), torch.tensor([0]), x_ulb, x_ulb)
    out_dict["loss"].backward()
    return alg.model.weight.grad, log_dict["train/unsup_loss"]


def test_the_student_follows_the_teacher():
    grad, unsup_loss = step(ulb_loss_ratio=1.0)
    grad_without, _ = step(ulb_loss_ratio=0.0)
    assert unsup_loss > 0
    assert not torch.equal(grad, grad_without)

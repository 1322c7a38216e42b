"""Whether the host's Mean Teacher learns from unlabeled images at all.

In some versions of semilearn that call themselves 0.3.2 it compares the teacher's output with
itself, so that its consistency loss is 0 whatever the student does.
"""

import contextlib

import torch
from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher
from semilearn.core.criterions import CELoss, ConsistencyLoss
from semilearn.core.utils import EMA, Bn_Controller
from torch import Tensor, nn

from metasemi_plugin.errors import UserError


def require_alive(algorithm: type) -> None:
    """Refuse Mean Teacher, and what builds on it, where it cannot learn.

    Raises:
        UserError: the installed Mean Teacher's consistency loss has no gradient.
    """
    if issubclass(algorithm, MeanTeacher) and not consistency_gradient().any():
        raise UserError(
            "the installed semilearn's Mean Teacher ignores unlabeled images (its consistency "
            "loss is constantly 0): install the released one, pip install semilearn==0.3.2"
        )


def consistency_gradient() -> Tensor:
    """Gradient of Mean Teacher's consistency loss, of a student of four weights: (2, 2).

    The step is run on a net of its own, whose teacher differs from it, with the weight of the loss
    at 1 and at 0; no random number is drawn.
    """
    x_lb, y_lb = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
    x_ulb = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    gradients = []
    for weight in (1.0, 0.0):
        toy = _without_run(weight)
        out_dict, _ = toy.train_step(x_lb, y_lb, x_ulb, x_ulb)
        out_dict["loss"].backward()
        gradients.append(toy.model.weight.grad)
    return gradients[0] - gradients[1]


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2))

    def forward(self, x):
        return {"logits": x @ self.weight, "feat": x}


def _without_run(weight: float) -> MeanTeacher:
    """Mean Teacher with what one step needs: neither data nor a run; its ramp is over."""
    toy = MeanTeacher.__new__(MeanTeacher)
    toy.model = _Net()
    toy.ema = EMA(toy.model, 0.5)
    toy.ema.shadow = {"weight": torch.tensor([[1.0, 0.5], [-0.5, 2.0]])}
    toy.bn_controller = Bn_Controller()
    toy.amp_cm = contextlib.nullcontext
    toy.ce_loss, toy.consistency_loss = CELoss(), ConsistencyLoss()
    toy.lambda_u = weight
    toy.it = toy.num_train_iter = 1
    toy.init(unsup_warm_up=1.0)
    return toy

"""What the tests of algorithms share: one step in float64, and the pieces to transcribe it from.

A transcription computes a step of the paper's method again, from the formulas: sample by sample
where the package works on batches, through graphs of graphs where it sweeps forward.
"""

import copy

import torch
import torch.nn.functional as F
from torch.func import functional_call

B, U, C = 6, 18, 10
LR, MOMENTUM, DECAY, EMA, BETA = 0.1, 0.9, 0.01, 0.9, 0.7
SEED = 5


def prepare(build, name, **changes):
    """The algorithm in float64, with SGD; see `in_double`."""
    sgd = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "scheduler": "constant"}
    return in_double(build(name, ema_m=EMA, **sgd, **changes))


def in_double(algorithm):
    """Its nets in float64, its teacher moved away from the student to tell the two apart."""
    algorithm.model.double().train()
    algorithm.ema_model.double()
    algorithm.call_hook("before_run")
    for key, p in algorithm.ema.shadow.items():
        algorithm.ema.shadow[key] = p + 0.3 * torch.randn_like(p)
    return algorithm


def double_batches(algorithm):
    """What it reads by itself is in float64, too."""
    process = algorithm.process_batch
    algorithm.process_batch = lambda *a, **k: {
        key: v.double() if v.is_floating_point() else v for key, v in process(*a, **k).items()
    }
    return algorithm


def one_step(algorithm, batch):
    torch.manual_seed(SEED)
    algorithm.call_hook("before_train_step", "ParamUpdateHook")
    algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
    for name in ("ParamUpdateHook", "StepLogHook", "EMAHook"):
        algorithm.call_hook("after_train_step", name)


class Transcription:
    """A copy of the algorithm's net before the step; random numbers start as in `one_step`."""

    def __init__(self, algorithm):
        self.net = copy.deepcopy(algorithm.model)
        self.theta = {
            n: p.detach().clone().requires_grad_() for n, p in self.net.named_parameters()
        }
        self.shadow = dict(algorithm.ema.shadow)
        self.buffers = {n: b.clone() for n, b in self.net.named_buffers()}
        torch.manual_seed(SEED)

    def logits(self, params, x, *, moves_statistics=False):
        buffers = self.buffers
        if not moves_statistics:
            buffers = {n: b.clone() for n, b in self.net.named_buffers()}
        return functional_call(self.net, {**params, **buffers}, (x,))["logits"]

    def student(self, x, *, moves_statistics=False):
        return self.logits(self.theta, x, moves_statistics=moves_statistics)

    def teacher(self, x):
        return self.logits(self.shadow, x).detach()

    def step(self, loss):
        """Parameters and teacher after SGD's first step with Nesterov momentum on the loss."""
        grads = torch.autograd.grad(loss, list(self.theta.values()))
        new, average = {}, {}
        for (name, p), g in zip(self.theta.items(), grads, strict=True):
            g = g + (DECAY if p.ndim > 1 else 0) * p.detach()
            new[name] = p.detach() - LR * (g + MOMENTUM * g)
            average[name] = EMA * self.shadow[name] + (1 - EMA) * new[name]
        return new, average


def onehot(y):
    return torch.stack([torch.tensor([float(c == k) for k in range(C)]) for c in y]).double()


def mix(x, y, alpha):
    """MixUp of a batch with its shuffled self, sample by sample."""
    lam = torch.distributions.Beta(alpha, alpha).sample().item()
    partner = torch.randperm(len(x)).tolist()
    return (
        torch.stack([lam * x[i] + (1 - lam) * x[k] for i, k in enumerate(partner)]),
        torch.stack([lam * y[i] + (1 - lam) * y[k] for i, k in enumerate(partner)]),
    )


def cross_entropy(logits, y):
    return torch.stack([-(y[i] * F.log_softmax(logits[i], 0)).sum() for i in range(len(y))])


def squared_error(p, q):
    """Mean over the batch and the classes, class by class."""
    return sum((p[i, c] - q[i, c]) ** 2 for i in range(len(p)) for c in range(C)) / (len(p) * C)


def ict_term(it, x_ulb_w, teacher, *, alpha, mix_logits=False):
    if mix_logits:
        x, y = mix(x_ulb_w, teacher, alpha)
        y = y.softmax(1)
    else:
        x, y = mix(x_ulb_w, teacher.softmax(1), alpha)
    return squared_error(it.student(x).softmax(1), y)


def algorithm_1(
    it,
    x_lb,
    y_lb,
    x_ulb_w,
    *,
    pseudo=None,
    mix_lb=True,
    mix_ulb=True,
    weigh=lambda meta: [float(v <= 0) for v in meta],
    normalize=sum,
):
    """Algorithm 1 line by line; the options change what Table 6 changes.

    Args:
        it: a Transcription.
        x_lb, y_lb, x_ulb_w: the batch.
        pseudo: pseudo labels (U, C); by default the teacher's softmax.
        mix_lb, mix_ulb: whether Eq. 12 and Eq. 13 are applied.
        weigh: from the meta-gradient to the weights, line 11.
        normalize: from the weights to the divisor in line 12.

    Returns:
        L_meta of Eq. 1, the weights, (B + U,), and (x~, y~) of Eq. 12.
    """
    # line 4: pseudo labels and MixUp
    pseudo = it.teacher(x_ulb_w).softmax(1) if pseudo is None else pseudo
    x, y = x_lb, onehot(y_lb)
    x_all, y_all = torch.cat([x, x_ulb_w]), torch.cat([y, pseudo])
    x_tilde, y_tilde = mix(x, y, BETA) if mix_lb else (x, y)
    u_tilde, v_tilde = mix(x_all, y_all, BETA) if mix_ulb else (x_all, y_all)
    # lines 5-10: virtual step at w = 0 and derivative with respect to w
    theta = it.theta
    w = torch.zeros(B + U, dtype=torch.float64, requires_grad=True)
    losses = cross_entropy(it.student(u_tilde, moves_statistics=True), v_tilde)
    grads = torch.autograd.grad((w * losses).sum(), list(theta.values()), create_graph=True)
    theta_1 = {n: p - LR * g for (n, p), g in zip(theta.items(), grads, strict=True)}
    meta = cross_entropy(it.logits(theta_1, x_tilde), y_tilde).sum()
    meta_gradient = torch.autograd.grad(meta, w, retain_graph=True)[0]
    # lines 11, 12
    weights = torch.tensor(weigh(meta_gradient.tolist()), dtype=torch.float64)
    loss = (weights * losses).sum() / normalize(weights.tolist())
    return loss, weights, (x_tilde, y_tilde)


def assert_same_step(algorithm, batch, it, loss):
    """One step of the algorithm does what SGD and EMA make of the transcribed loss."""
    before = {n: p.detach().clone() for n, p in algorithm.model.named_parameters()}
    new, average = it.step(loss)

    one_step(algorithm, batch)

    def close(a, b):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-10, atol=1e-13)

    close(algorithm.out_dict["loss"], loss)
    for name, p in algorithm.model.named_parameters():
        # The weights, and so their update, are of order 0.1.
        assert (p - before[name]).abs().max() > 1e-6, f"{name} did not move"
        close(p, new[name])
        close(algorithm.ema.shadow[name], average[name])
    for name, b in algorithm.model.named_buffers():
        close(b.double(), it.buffers[name].double())
        assert "running" not in name or (b - it.net.get_buffer(name)).abs().max() > 1e-6


def teacher_gets_no_gradient(algorithm, batch):
    """Whether a backward pass reaches every parameter of the student and none of the teacher."""
    shadow = {n: t.clone().requires_grad_() for n, t in algorithm.ema.shadow.items()}
    algorithm.ema.shadow = shadow
    algorithm.train_step(**batch)[0]["loss"].backward()
    return all(p.grad is not None and p.grad.any() for p in algorithm.model.parameters()) and all(
        t.grad is None for t in shadow.values()
    )


def batch_statistics(model, params, x):
    """{layer: (mean, unbiased variance)} of what enters each BatchNorm layer, in train mode."""
    model = copy.deepcopy(model).train()
    model.load_state_dict(params, strict=False)
    found = {}

    def note(name):
        def hook(module, inputs, output):
            values = inputs[0].detach().transpose(0, 1).flatten(1)
            found[name] = values.mean(1), values.var(1)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(note(name))
    model(x)
    assert len(found) == 2
    return found

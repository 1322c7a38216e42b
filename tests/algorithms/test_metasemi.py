"""One step of the algorithm, with the host's hooks, against a transcription of Algorithm 1."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from metasemi_plugin.algorithms.metasemi import kept_shares
from metasemi_plugin.mixup import mix

B, U, C = 6, 18, 10
LR, MOMENTUM, DECAY, EMA, BETA = 0.1, 0.9, 0.01, 0.9, 0.7


@pytest.fixture
def algorithm(build):
    """In float64, its teacher moved away from the student so that the two can be told apart."""
    algorithm = build(
        lr=LR,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        ema_m=EMA,
        mixup_beta=BETA,
        scheduler="constant",
    )
    algorithm.model.double().train()
    algorithm.ema_model.double()
    algorithm.call_hook("before_run")
    for name, p in algorithm.ema.shadow.items():
        algorithm.ema.shadow[name] = p + 0.3 * torch.randn_like(p)
    return algorithm


@pytest.fixture
def batch():
    torch.manual_seed(11)
    x_lb, x_ulb_w = torch.randn(B, 3, 16, 16).double(), torch.randn(U, 3, 16, 16).double()
    return {"x_lb": x_lb, "y_lb": torch.arange(B) % C, "x_ulb_w": x_ulb_w}


def one_step(algorithm, batch, seed=5):
    torch.manual_seed(seed)
    algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
    algorithm.call_hook("after_train_step", "ParamUpdateHook")
    algorithm.call_hook("after_train_step", "EMAHook")


def cross_entropy(logits, y):
    return torch.stack([-(y[i] * F.log_softmax(logits[i], 0)).sum() for i in range(len(y))])


def transcription(model, shadow, x_lb, y_lb, x_ulb_w, seed=5):
    """Algorithm 1 line by line: parameters, shadow, buffers, weights and loss after one step."""
    torch.manual_seed(seed)
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    theta = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}

    def logits(params, x, bufs=None):
        bufs = {n: b.clone() for n, b in buffers.items()} if bufs is None else bufs
        return functional_call(model, {**params, **bufs}, (x,))["logits"]

    # line 4: pseudo labels and MixUp
    pseudo = F.softmax(logits(shadow, x_ulb_w), dim=1).detach()
    y = torch.zeros(B, C).double()
    y[torch.arange(B), y_lb] = 1
    mixed = []
    for x_all, y_all in ((x_lb, y), (torch.cat([x_lb, x_ulb_w]), torch.cat([y, pseudo]))):
        lam = torch.distributions.Beta(BETA, BETA).sample().item()
        partner = torch.randperm(len(x_all))
        rows = range(len(x_all))
        mixed.append(torch.stack([lam * x_all[i] + (1 - lam) * x_all[partner[i]] for i in rows]))
        mixed.append(torch.stack([lam * y_all[i] + (1 - lam) * y_all[partner[i]] for i in rows]))
    x_tilde, y_tilde, u_tilde, v_tilde = mixed

    # lines 5-10: virtual step at w = 0 and derivative with respect to w
    w = torch.zeros(B + U, dtype=torch.float64, requires_grad=True)
    losses = cross_entropy(logits(theta, u_tilde, buffers), v_tilde)
    grads = torch.autograd.grad((w * losses).sum(), list(theta.values()), create_graph=True)
    theta_1 = {n: p - LR * g for (n, p), g in zip(theta.items(), grads, strict=True)}
    meta = torch.autograd.grad(
        cross_entropy(logits(theta_1, x_tilde), y_tilde).sum(), w, retain_graph=True
    )[0]
    # lines 11, 12
    weights = torch.tensor([1.0 if v <= 0 else 0.0 for v in meta]).double()
    loss = (weights * losses).sum() / weights.sum()
    # line 13, by SGD's first step with Nesterov momentum, and the teacher's average
    grads = torch.autograd.grad(loss, list(theta.values()))
    new, average = {}, {}
    for (name, p), g in zip(theta.items(), grads, strict=True):
        g = g + (DECAY if p.ndim > 1 else 0) * p.detach()
        new[name] = p.detach() - LR * (g + MOMENTUM * g)
        average[name] = EMA * shadow[name] + (1 - EMA) * new[name]
    return new, average, buffers, weights, loss.detach()


def test_step_equals_algorithm_1(algorithm, batch):
    model, shadow = copy.deepcopy(algorithm.model), dict(algorithm.ema.shadow)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    new, average, buffers, weights, loss = transcription(model, shadow, **batch)
    assert 0 < weights.sum() < B + U, "the mask must be neither all ones nor all zeros"

    one_step(algorithm, batch)

    torch.testing.assert_close(algorithm.out_dict["loss"].detach(), loss, rtol=1e-10, atol=0)
    assert algorithm.log_dict["train/kept"] == pytest.approx(weights.mean().item())
    for name, p in algorithm.model.named_parameters():
        assert (p - before[name]).abs().max() > 1e-6, f"{name} did not move"
        torch.testing.assert_close(p.detach(), new[name], rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(
            algorithm.ema.shadow[name], average[name], rtol=1e-10, atol=1e-13
        )
    for name, b in algorithm.model.named_buffers():
        torch.testing.assert_close(b, buffers[name], rtol=1e-10, atol=0)


def test_running_statistics_move_once_a_step(algorithm, batch):
    one_step(algorithm, batch)
    counts = [b for n, b in algorithm.model.named_buffers() if n.endswith("num_batches_tracked")]
    assert [c.item() for c in counts] == [1, 1]


def test_pseudo_labels_are_the_teachers(algorithm, batch):
    """Teacher in train mode on the batch; no gradient, nothing left behind."""
    teacher = copy.deepcopy(algorithm.model)
    teacher.load_state_dict(algorithm.ema.shadow, strict=False)
    with torch.no_grad():
        expected = teacher(batch["x_ulb_w"])["logits"].softmax(1)
        students = copy.deepcopy(algorithm.model)(batch["x_ulb_w"])["logits"].softmax(1)
    before = {n: t.clone() for n, t in algorithm.model.state_dict().items()}

    got = algorithm.pseudo_label(batch["x_ulb_w"])

    assert (students - expected).abs().max() > 1e-3
    torch.testing.assert_close(got, expected)
    assert not got.requires_grad
    assert all(torch.equal(before[n], t) for n, t in algorithm.model.state_dict().items())


def test_no_gradient_reaches_the_teacher(algorithm, batch):
    shadow = {n: t.clone().requires_grad_() for n, t in algorithm.ema.shadow.items()}
    algorithm.ema.shadow = shadow
    algorithm.train_step(**batch)[0]["loss"].backward()
    assert all(p.grad is not None for p in algorithm.model.parameters())
    assert all(t.grad is None for t in shadow.values())


def test_unrolled_argument_gives_the_same_step(build, batch):
    params = []
    for method in ("forward", "unrolled"):
        algorithm = build(meta_gradient=method, scheduler="constant")
        algorithm.model.double()
        algorithm.ema_model.double()
        algorithm.call_hook("before_run")
        one_step(algorithm, batch)
        params.append(torch.cat([p.detach().flatten() for p in algorithm.model.parameters()]))
    torch.testing.assert_close(*params, rtol=1e-9, atol=1e-12)


def test_kept_shares_on_hand_values():
    # samples 0, 1 labelled; lambda 0.25: sample i is mostly its partner
    ulb = mix(torch.zeros(4, 1), torch.eye(4), 0.25, torch.tensor([2, 0, 3, 1]))
    shares = kept_shares(torch.tensor([1.0, 0.0, 0.0, 1.0]), ulb, num_lb=2)
    assert shares == {"kept": 0.5, "kept_labelled": 0.5, "kept_unlabelled": 0.5}
    shares = kept_shares(torch.tensor([0.0, 1.0, 0.0, 1.0]), ulb, num_lb=2)
    assert shares == {"kept": 0.5, "kept_labelled": 1.0, "kept_unlabelled": 0.0}


def test_pseudo_label_accuracy_on_hand_values(algorithm):
    targets = algorithm.dataset_dict["train_ulb"].targets
    targets[:3] = [7, 2, -1]
    pseudo = torch.eye(10)[[7, 5, 7]]  # right, wrong, unknown
    ulb = mix(torch.zeros(5, 1), torch.rand(5, 10), 0.9, torch.arange(5))  # samples 0, 1 labelled
    keep = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    got = algorithm.pseudo_label_accuracy(keep, ulb, pseudo, torch.tensor([0, 1, 2]))
    assert got == {"pseudo_label_acc_kept": 1.0, "pseudo_label_acc_dropped": 0.0}
    assert algorithm.pseudo_label_accuracy(keep, ulb, pseudo, None) == {}


def test_only_one_weak_view_is_asked_for(algorithm):
    (sample,) = algorithm.loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(sample) == {"idx_ulb", "x_ulb_w"}

"""One step of the algorithm, with the host's hooks, against a transcription of Algorithm 1."""

import copy

import numpy as np
import pytest
import torch
from transcription import (
    BETA,
    B,
    Transcription,
    U,
    algorithm_1,
    assert_same_step,
    one_step,
    prepare,
    teacher_gets_no_gradient,
)

from metasemi_plugin.algorithms.diagnostics import kept_shares, pseudo_label_accuracy
from metasemi_plugin.mixup import mix


@pytest.fixture
def algorithm(build):
    return prepare(build, "metasemi", mixup_beta=BETA)


def test_step_equals_algorithm_1(algorithm, batch):
    it = Transcription(algorithm)
    loss, weights, _ = algorithm_1(it, **batch)
    assert 0 < weights.sum() < B + U, "the mask must be neither all ones nor all zeros"
    assert_same_step(algorithm, batch, it, loss)
    assert algorithm.log_dict["train/kept"] == pytest.approx(weights.mean().item())


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

    got = algorithm.pseudo_labels(algorithm.teacher_logits(batch["x_ulb_w"]))

    assert (students - expected).abs().max() > 1e-3
    torch.testing.assert_close(got, expected)
    assert not got.requires_grad
    assert all(torch.equal(before[n], t) for n, t in algorithm.model.state_dict().items())


def test_no_gradient_reaches_the_teacher(algorithm, batch):
    assert teacher_gets_no_gradient(algorithm, batch)


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


def test_pseudo_label_accuracy_on_hand_values():
    targets = np.array([7, 2, -1])
    pseudo = torch.eye(10)[[7, 5, 7]]  # right, wrong, unknown
    ulb = mix(torch.zeros(5, 1), torch.rand(5, 10), 0.9, torch.arange(5))  # samples 0, 1 labelled
    keep = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    got = pseudo_label_accuracy(keep, ulb, pseudo, torch.tensor([0, 1, 2]), targets)
    assert got == {"pseudo_label_acc_kept": 1.0, "pseudo_label_acc_dropped": 0.0}
    assert pseudo_label_accuracy(keep, ulb, pseudo, None, targets) == {}
    assert pseudo_label_accuracy(keep, ulb, pseudo, torch.tensor([0, 1, 2]), None) == {}


def test_only_one_weak_view_is_asked_for(algorithm):
    (sample,) = algorithm.loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(sample) == {"idx_ulb", "x_ulb_w"}

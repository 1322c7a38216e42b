"""One step of the algorithm, with the host's hooks, against a transcription of Algorithm 1."""

import copy

import pytest
import torch
from semilearn.core.utils import ALGORITHMS
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

from metasemi_plugin.algorithms.metasemi import MetaSemi


@pytest.fixture
def algorithm(build):
    return prepare(build, "metasemi", mixup_beta=BETA)


def test_step_equals_algorithm_1(algorithm, batch):
    it = Transcription(algorithm)
    loss, weights, _ = algorithm_1(it, **batch)
    assert 0 < weights.sum() < B + U, "the mask must be neither all ones nor all zeros"
    assert_same_step(algorithm, batch, it, loss)
    torch.testing.assert_close(algorithm.out_dict["weights"], weights)


def test_the_page_by_itself_is_algorithm_1(build, batch, monkeypatch):
    """Without what `variants` puts around it."""
    monkeypatch.setitem(ALGORITHMS._dict, "the_page", MetaSemi)
    algorithm = prepare(build, "the_page", mixup_beta=BETA)
    it = Transcription(algorithm)
    loss, weights, _ = algorithm_1(it, **batch)
    assert_same_step(algorithm, batch, it, loss)
    torch.testing.assert_close(algorithm.out_dict["weights"], weights)
    assert algorithm.log_dict["train/loss"] == pytest.approx(loss.item())
    assert algorithm.ema.kind == "teacher"


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


def test_only_one_weak_view_is_asked_for(algorithm):
    batch = algorithm.loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(batch) == {"idx_ulb", "x_ulb_w"}

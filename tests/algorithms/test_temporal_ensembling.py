"""One step against a transcription of Algorithm 2, and Z by hand."""

import math

import pytest
import torch
from transcription import C, Transcription, U, assert_same_step, cross_entropy, onehot, prepare

from metasemi_plugin.errors import UserError

ALPHA, W_MAX = 0.6, 30.0


@pytest.fixture
def algorithm(build):
    """Halfway up its ramp; a third of the batch's images unseen, the others seen once or twice."""
    algorithm = prepare(
        build, "temporal_ensembling", ulb_loss_ratio=W_MAX, num_train_iter=6, unsup_warm_up=1.0
    )
    algorithm.it = 3
    algorithm.ensemble = algorithm.ensemble.double()
    algorithm.visits[:U] = torch.arange(U) % 3
    seen = algorithm.visits[:U, None]
    algorithm.ensemble[:U] = torch.rand(U, C).softmax(1).double() * (1 - ALPHA**seen)
    return algorithm


@pytest.fixture
def batch(batch):
    return {**batch, "idx_ulb": torch.randperm(U)}


def transcription(it, ensemble, visits, share, x_lb, y_lb, x_ulb_w, idx_ulb):
    """The losses, and Z and t of the images of the batch moved in place."""
    sup = cross_entropy(it.student(x_lb, moves_statistics=True), onehot(y_lb)).mean()
    z = it.student(x_ulb_w).softmax(1)
    squares = 0
    for row, i in enumerate(idx_ulb.tolist()):
        if visits[i] > 0:
            target = ensemble[i] / (1 - ALPHA ** visits[i].item())
            squares = squares + ((z[row] - target) ** 2).sum()
        ensemble[i] = ALPHA * ensemble[i] + (1 - ALPHA) * z[row].detach()
        visits[i] += 1
    unsup = squares / (C * U)
    return sup, unsup, sup + W_MAX * share * math.exp(-5 * (1 - 3 / 6) ** 2) * unsup


@pytest.mark.parametrize("by_labels", [True, False])
def test_step_equals_algorithm_2(algorithm, batch, by_labels):
    algorithm.weight_by_labels = by_labels
    share = 40 / 1437 if by_labels else 1.0
    it = Transcription(algorithm)
    old, ensemble, visits = (t.clone() for t in (algorithm.ensemble,) * 2 + (algorithm.visits,))
    sup, unsup, loss = transcription(it, ensemble, visits, share, **batch)
    assert unsup > 1e-4

    assert_same_step(algorithm, batch, it, loss)

    log = algorithm.log_dict
    assert log["train/sup_loss"] == pytest.approx(sup.item(), rel=1e-10)
    assert log["train/unsup_loss"] == pytest.approx(unsup.item(), rel=1e-10)
    assert log["train/has_target"] == pytest.approx(2 / 3)
    assert (algorithm.ensemble[:U] - old[:U]).abs().amax(1).min() > 1e-4
    torch.testing.assert_close(algorithm.ensemble, ensemble, rtol=1e-10, atol=0)
    assert torch.equal(algorithm.visits, visits)


def test_three_visits_of_one_image_by_hand(algorithm):
    """Z = 0.4 z1, 0.24 z1 + 0.4 z2, 0.144 z1 + 0.24 z2 + 0.4 z3; divided by 0.4, 0.64, 0.784."""
    where = torch.tensor([30])
    z = [torch.eye(C).double()[k : k + 1] for k in (2, 5, 2)]
    assert algorithm.target(where)[1].item() == 0
    expected = [{2: 1.0}, {2: 0.375, 5: 0.625}, {2: 0.544 / 0.784, 5: 0.24 / 0.784}]
    for new, values in zip(z, expected, strict=True):
        algorithm.remember(where, new)
        target, has_target = algorithm.target(where)
        wanted = torch.tensor([[values.get(k, 0.0) for k in range(C)]], dtype=torch.float64)
        torch.testing.assert_close(target, wanted, rtol=1e-12, atol=1e-15)
        assert has_target.item() == 1
    torch.testing.assert_close(algorithm.ensemble[30, 2].item(), 0.544, rtol=1e-12, atol=0)
    assert algorithm.visits[30] == 3
    assert algorithm.visits[[29, 31]].tolist() == [0, 0]


def test_twice_in_one_batch_is_one_visit_with_the_mean_prediction(algorithm):
    probs = torch.eye(C).double()[[1, 4, 3]]
    algorithm.remember(torch.tensor([40, 41, 40]), probs)
    assert algorithm.visits[[40, 41]].tolist() == [1, 1]
    wanted = torch.zeros(2, C).double()
    wanted[0, [1, 3]], wanted[1, 4] = 0.2, 0.4
    torch.testing.assert_close(algorithm.ensemble[[40, 41]], wanted)


def test_the_first_visit_has_no_unsupervised_loss(algorithm, batch):
    algorithm.visits.zero_()
    algorithm.ensemble.zero_()
    out_dict, log_dict = algorithm.train_step(**batch)
    assert log_dict["train/unsup_loss"] == log_dict["train/has_target"] == 0
    assert out_dict["loss"].item() == log_dict["train/sup_loss"]
    _, log_dict = algorithm.train_step(**batch)
    assert log_dict["train/unsup_loss"] > 0


def test_weight_where_labeled_images_are_not_among_the_unlabeled(build):
    algorithm = build("temporal_ensembling", include_lb_to_ulb=False, ulb_loss_ratio=2.0)
    algorithm.it = 6
    assert len(algorithm.visits) == 1397
    assert algorithm.unsup_weight() == pytest.approx(2 * 40 / 1437)


@pytest.mark.parametrize("alpha", [-0.1, 1.0])
def test_an_alpha_that_is_no_decay_is_an_error(build, alpha):
    with pytest.raises(UserError, match="te_alpha"):
        build("temporal_ensembling", te_alpha=alpha)

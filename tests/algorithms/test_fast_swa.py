"""Steps against a transcription of Mean Teacher and of the average; the schedule by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from transcription import (
    Transcription,
    U,
    assert_same_step,
    batch_statistics,
    cross_entropy,
    one_step,
    onehot,
    prepare,
    squared_error,
)

from metasemi_plugin.algorithms.fast_swa import Cycles
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.teacher import Teacher, bn_buffers

WEIGHT = 50.0
# 20 iterations: l0 = 8, l1 = 10, cycles of 6, averaged every 2.
SCHEDULE = {
    "num_train_iter": 20,
    "num_eval_iter": 20,
    "swa_start": 0.4,
    "swa_horizon": 0.5,
    "swa_cycle": 0.3,
    "swa_per_cycle": 3,
}


@pytest.fixture
def batch(batch):
    return {**batch, "x_ulb_s": torch.randn(U, 3, 16, 16).double()}


def cosine(epoch):
    return 0.5 * (1 + math.cos(math.pi * epoch / 10))


def test_learning_rate_of_two_cycles_by_hand():
    cycles = Cycles(start=8, horizon=10, length=6, every=2)
    course = [0, 1, 2, 3, 4, 5, 6, 7, *[2, 3, 4, 5, 6, 7], *[2, 3, 4, 5, 6, 7]]
    assert [cycles.lr_factor(step) for step in range(20)] == [cosine(e) for e in course]
    assert [s for s in range(21) if cycles.averages_after(s)] == [
        2,
        4,
        6,
        8,
        10,
        12,
        14,
        16,
        18,
        20,
    ]


def test_defaults_are_the_settings_of_the_paper(build):
    """180 epochs of a cosine to 210, cycles of 30, an average every 3, in 300 of 7 iterations."""
    algorithm = build("fast_swa", num_train_iter=2100, num_eval_iter=2100)
    assert algorithm.cycles == Cycles(start=180 * 7, horizon=210 * 7, length=30 * 7, every=3 * 7)


def test_step_equals_mean_teachers_and_moves_the_average(build, batch):
    """The 12th iteration: its weights are the third to go into the average."""
    algorithm = prepare(build, "fast_swa", ulb_loss_ratio=WEIGHT, **SCHEDULE)
    algorithm.it = 11
    old = {n: torch.randn_like(p).detach() for n, p in algorithm.model.named_parameters()}
    algorithm.average, algorithm.num_averaged = Teacher(algorithm.model, 0.0, "precise"), 2
    algorithm.average.shadow = {n: t.clone() for n, t in old.items()}
    algorithm.average.stale = False
    it = Transcription(algorithm)
    sup = cross_entropy(
        it.student(batch["x_lb"], moves_statistics=True), onehot(batch["y_lb"])
    ).mean()
    target = it.teacher(batch["x_ulb_w"]).softmax(1)
    unsup = squared_error(it.student(batch["x_ulb_s"]).softmax(1), target)
    loss = sup + WEIGHT * unsup
    assert unsup > 1e-4

    assert_same_step(algorithm, batch, it, loss)
    algorithm.call_hook("after_train_step", "AverageHook")

    assert algorithm.log_dict["train/sup_loss"] == pytest.approx(sup.item(), rel=1e-10)
    assert algorithm.log_dict["train/unsup_loss"] == pytest.approx(unsup.item(), rel=1e-10)
    assert algorithm.num_averaged == 3
    assert algorithm.average.stale
    for name, average in algorithm.average.shadow.items():
        expected = (2 * old[name] + algorithm.model.get_parameter(name).detach()) / 3
        torch.testing.assert_close(average, expected, rtol=1e-10, atol=1e-13)


@pytest.fixture
def trained(build, batch):
    """After the first phase and two cycles; the weights on the way, and the learning rates."""
    algorithm = build("fast_swa", weight_decay=0.0, momentum=0.0, net_args={"dropout": 0.2},
                      **SCHEDULE)  # fmt: skip
    algorithm.call_hook("before_run")
    algorithm.model.train()
    saved, rates = {}, []
    for it in range(20):
        algorithm.it = it
        rates.append(algorithm.optimizer.param_groups[0]["lr"])
        one_step(algorithm, {**batch, **{k: v.float() for k, v in batch.items() if k != "y_lb"}})
        algorithm.call_hook("after_train_step", "AverageHook")
        saved[it + 1] = {n: p.detach().clone() for n, p in algorithm.model.named_parameters()}
    return algorithm, saved, rates


def test_average_after_two_cycles_is_the_mean_of_the_saved_weights(trained):
    algorithm, saved, rates = trained
    course = [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7]
    assert rates == pytest.approx([0.1 * cosine(e) for e in course])
    picked = [saved[step] for step in (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)]
    assert algorithm.num_averaged == len(picked)
    for name, average in algorithm.average.shadow.items():
        assert (picked[-1][name] - average).abs().max() > 1e-4
        torch.testing.assert_close(average, torch.stack([w[name] for w in picked]).mean(0))


def test_bn_statistics_are_those_of_the_average(trained):
    algorithm, _, _ = trained
    algorithm.model.body[3].p = 0.0  # whose numbers would differ
    sums, batches = {}, algorithm.args.bn_batches
    for x in algorithm.clean_batches():
        found = batch_statistics(algorithm.model, algorithm.average.shadow, x)
        for layer, (mean, var) in found.items():
            old = sums.get(layer, (0, 0))
            sums[layer] = old[0] + mean, old[1] + var
    algorithm.evaluate("eval")
    own, students = algorithm.average.statistics, bn_buffers(algorithm.model)
    for layer, expected in sums.items():
        for key, value in zip(("running_mean", "running_var"), expected, strict=True):
            got = own[f"{layer}.{key}"]
            assert (got - students[f"{layer}.{key}"]).abs().max() > 1e-3
            torch.testing.assert_close(got, value / batches, rtol=1e-4, atol=1e-6)


def test_evaluation_is_of_the_average_and_leaves_no_trace(trained):
    algorithm, _, _ = trained
    state = copy.deepcopy(algorithm.model.state_dict())
    shadow, numbers = dict(algorithm.ema.shadow), torch.get_rng_state()
    algorithm.positions[1].start, algorithm.positions[1].stop = 4, 6
    order = algorithm.loader_dict["train_ulb"]
    upcoming = [b["idx_ulb"].tolist() for b in order]

    score = algorithm.evaluate("eval")["eval/loss"]

    model = copy.deepcopy(algorithm.model).eval()
    test = algorithm.dataset_dict["eval"].__getitems__(range(360))
    x, y = torch.stack([i["x_lb"] for i in test]), torch.tensor([i["y_lb"] for i in test])
    with torch.no_grad():
        students = F.cross_entropy(model(x)["logits"], y).item()
        model.load_state_dict({**algorithm.average.shadow, **algorithm.average.statistics})
        expected = F.cross_entropy(model(x)["logits"], y).item()
    assert score == pytest.approx(expected, rel=1e-6)
    assert abs(score - students) > 1e-4
    for name, value in algorithm.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(torch.equal(shadow[n], t) for n, t in algorithm.ema.shadow.items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert algorithm.model.training
    assert [b["idx_ulb"].tolist() for b in order] == upcoming
    assert algorithm.evaluate("eval")["eval/loss"] == score


def test_before_the_average_the_teacher_is_evaluated(build):
    scores = []
    for name in ("fast_swa", "meanteacher"):
        algorithm = build(name)
        algorithm.call_hook("before_run")
        scores.append(algorithm.evaluate("eval")["eval/loss"])
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"swa_cycle": 0.0}, "must be above 0 and in this order, not 0, 0.6, 0.7"),
        ({"swa_cycle": 0.65}, "in this order"),
        ({"swa_horizon": 0.5}, "in this order"),
        ({"swa_start": 1.2, "swa_horizon": 1.3}, "after the end of the training"),
        ({"swa_start": 1.25, "swa_horizon": 1.3, "swa_cycle": 0.25}, "after the end"),
        ({"swa_per_cycle": 0}, "must be at least 1"),
    ],
)
def test_impossible_schedules_are_errors(build, changes, message):
    with pytest.raises(UserError, match=message):
        build("fast_swa", **changes)


def test_one_average_a_cycle_is_enough(build):
    cycles = build("fast_swa", **SCHEDULE | {"swa_per_cycle": 1}).cycles
    assert (cycles.length, cycles.every) == (6, 6)

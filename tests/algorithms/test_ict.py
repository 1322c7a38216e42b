"""ICT's step against a transcription of its two terms."""

import math

import pytest
from transcription import (
    Transcription,
    assert_same_step,
    cross_entropy,
    ict_term,
    mix,
    onehot,
    prepare,
    teacher_gets_no_gradient,
)

ALPHA, WEIGHT = 0.4, 100.0


@pytest.fixture
def algorithm(build):
    def algorithm(**changes):
        options = {"ict_alpha": ALPHA, "ulb_loss_ratio": WEIGHT, "num_train_iter": 40}
        algorithm = prepare(build, "ict", **options, **changes)
        algorithm.it = 4
        return algorithm

    return algorithm


@pytest.mark.parametrize("ict_mix", ["probs", "logits"])
def test_step_equals_the_formula(algorithm, batch, ict_mix):
    algorithm = algorithm(ict_mix=ict_mix)
    it = Transcription(algorithm)
    x, y = mix(batch["x_lb"], onehot(batch["y_lb"]), ALPHA)
    sup_loss = cross_entropy(it.student(x, moves_statistics=True), y).mean()
    unsup_loss = ict_term(
        it,
        batch["x_ulb_w"],
        it.teacher(batch["x_ulb_w"]),
        alpha=ALPHA,
        mix_logits=ict_mix == "logits",
    )
    weight = WEIGHT * math.exp(-5 * (1 - 4 / 10) ** 2)  # a quarter of 40 iterations is 10
    assert weight * unsup_loss > 0.01 * sup_loss
    assert_same_step(algorithm, batch, it, sup_loss + weight * unsup_loss)
    assert algorithm.log_dict["train/sup_loss"] == pytest.approx(sup_loss.item())
    assert algorithm.log_dict["train/unsup_loss"] == pytest.approx(unsup_loss.item())
    assert algorithm.log_dict["train/unsup_weight"] == pytest.approx(weight)


def test_no_gradient_reaches_the_teacher(algorithm, batch):
    assert teacher_gets_no_gradient(algorithm(), batch)

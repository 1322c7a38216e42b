"""Table 6: each ablation against Algorithm 1 with that one thing changed."""

import pytest
import torch
from transcription import (
    BETA,
    B,
    Transcription,
    U,
    algorithm_1,
    assert_same_step,
    cross_entropy,
    mix,
    one_step,
    onehot,
    prepare,
)

from metasemi_plugin.algorithms import metasemi, variants


def signs(meta_gradient):
    return [1.0 if v <= 0 else -1.0 for v in meta_gradient]


def students_labels(it, x_ulb_w):
    return it.student(x_ulb_w).softmax(1).detach()


def hard_labels(it, x_ulb_w):
    probs = it.teacher(x_ulb_w).softmax(1)
    return onehot([max(range(10), key=row.__getitem__) for row in probs.tolist()])


# option, value, what it changes in algorithm_1, and the pseudo labels if they are not the teacher's
ABLATIONS = [
    ("teacher", "student", {}, students_labels),
    ("pseudo_label", "onehot", {}, hard_labels),
    ("mixup_on", "unlabeled", {"mix_lb": False}, None),
    ("mixup_on", "labeled", {"mix_ulb": False}, None),
    ("mixup_on", "none", {"mix_lb": False, "mix_ulb": False}, None),
    ("weights", "signed", {"weigh": signs, "normalize": len}, None),
]


@pytest.mark.parametrize(("option", "value", "change", "labels"), ABLATIONS)
def test_step_equals_algorithm_1_with_one_thing_changed(
    build, batch, option, value, change, labels
):
    algorithm = prepare(build, "metasemi", mixup_beta=BETA, **{option: value})
    it = Transcription(algorithm)
    if labels is not None:
        change = {**change, "pseudo": labels(it, batch["x_ulb_w"])}
    loss, weights, _ = algorithm_1(it, **batch, **change)
    assert 0 < (weights > 0).sum() < B + U
    unchanged = algorithm_1(Transcription(algorithm), **batch)[0]
    assert (loss - unchanged).abs() > 1e-4, "the ablation must change something"
    torch.manual_seed(0)
    assert_same_step(algorithm, batch, it, loss)
    torch.testing.assert_close(algorithm.out_dict["weights"], weights)


def test_signed_weights_are_plus_and_minus_one():
    gradient = torch.tensor([-2.0, 0.0, 3.0])
    assert variants.WEIGHTS["signed"](gradient).tolist() == [1, 1, -1]


def test_weights_of_one_make_a_plain_step_on_mixed_images(build, batch, monkeypatch):
    """Consistency by MixUp: the mean loss of all of U~, without a sweep (Appendix C)."""

    def sweep(*_, **__):
        raise AssertionError("no meta-gradient is needed")

    monkeypatch.setattr(metasemi, "meta_gradient_and_losses", sweep)
    algorithm = prepare(build, "metasemi", mixup_beta=BETA, weights="ones")
    it = Transcription(algorithm)
    mix(batch["x_lb"], onehot(batch["y_lb"]), BETA)  # draws as Eq. 12 does
    y_ulb = it.teacher(batch["x_ulb_w"]).softmax(1)
    x = torch.cat([batch["x_lb"], batch["x_ulb_w"]])
    x, y = mix(x, torch.cat([onehot(batch["y_lb"]), y_ulb]), BETA)
    loss = cross_entropy(it.student(x, moves_statistics=True), y).mean()
    assert_same_step(algorithm, batch, it, loss)
    assert algorithm.out_dict["weights"].tolist() == [1] * (B + U)


def test_the_teachers_confidence_is_logged_whatever_the_labels(build, batch):
    confidence = []
    for labels in ("soft", "onehot"):
        torch.manual_seed(0)
        algorithm = prepare(build, "metasemi", mixup_beta=BETA, pseudo_label=labels)
        one_step(algorithm, batch)
        confidence.append(algorithm.log_dict["train/teacher_confidence"])
    assert confidence[0] == confidence[1] < 1

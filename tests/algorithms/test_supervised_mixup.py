"""Supervised MixUp's step against a transcription of its loss."""

from transcription import Transcription, assert_same_step, cross_entropy, mix, onehot, prepare

ALPHA = 0.4


def test_step_equals_the_formula(build, batch):
    algorithm = prepare(build, "supervised_mixup", mixup_alpha=ALPHA)
    it = Transcription(algorithm)
    x, y = mix(batch["x_lb"], onehot(batch["y_lb"]), ALPHA)
    loss = cross_entropy(it.student(x, moves_statistics=True), y).mean()
    labeled = {"x_lb": batch["x_lb"], "y_lb": batch["y_lb"]}
    assert_same_step(algorithm, labeled, it, loss)


def test_no_view_of_an_unlabeled_image_is_asked_for(build):
    batch = build("supervised_mixup").loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(batch) == {"idx_ulb"}

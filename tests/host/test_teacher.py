"""The evaluated average and its BatchNorm statistics, against sums taken by hand in float64."""

import pytest
import torch
from tiny import TINY_RUN
from torch.utils.data import default_collate
from transcription import batch_statistics, double_batches, in_double

from metasemi_plugin import train
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.streams import Stream, collated
from metasemi_plugin.host.teacher import bn_buffers
from metasemi_plugin.run_folder import checkpoint

TEACHERS = [
    ("metasemi", {}),
    ("metasemi", {"consistency": "meanteacher"}),
    ("metasemi_mask_trial", {"mask_labels": 10}),
    ("learning_to_reweight", {}),
    ("ict", {}),
    ("meanteacher", {}),
    ("fast_swa", {}),
    ("sntg", {"sntg_base": "meanteacher"}),
]


def batch_of(algorithm, name, start, size, number=None):
    stream = algorithm.loader_dict[name].dataset
    if number is not None:
        stream = Stream(algorithm.dataset_dict[name], algorithm.args.seed, number)
    return collated(stream.__getitems__(list(range(start, start + size))))


@pytest.mark.parametrize(("name", "changes"), TEACHERS)
def test_a_teachers_passes_move_its_own_statistics(build, name, changes):
    """Three steps: at least 10 / (10 + t) of a batch's, then the layer's momentum."""
    algorithm = in_double(double_batches(build(name, bn_momentum=0.9, **changes)))
    assert algorithm.ema.kind == "teacher"
    expected = {n: b.clone() for n, b in algorithm.ema.statistics.items()}
    for algorithm.it, momentum in enumerate([1.0, 10 / 11, 0.9]):
        batch = algorithm.process_batch(
            **batch_of(algorithm, "train_lb", 6 * algorithm.it, 6),
            **batch_of(algorithm, "train_ulb", 18 * algorithm.it, 18),
        )
        shadow = {n: t.clone() for n, t in algorithm.ema.shadow.items()}
        for layer, of_batch in batch_statistics(algorithm.model, shadow, batch["x_ulb_w"]).items():
            for key, value in zip(("running_mean", "running_var"), of_batch, strict=True):
                old = expected[f"{layer}.{key}"]
                expected[f"{layer}.{key}"] = (1 - momentum) * old + momentum * value
        algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
        algorithm.call_hook("after_train_step", "ParamUpdateHook")
        algorithm.call_hook("after_train_step", "EMAHook")
    students = bn_buffers(algorithm.model)
    for key, value in expected.items():
        if "running" in key:
            torch.testing.assert_close(algorithm.ema.statistics[key], value, rtol=1e-10, atol=1e-13)
            assert (value - students[key]).abs().max() > 1e-3
    modules = algorithm.model.modules()
    assert {m.momentum for m in modules if isinstance(m, torch.nn.BatchNorm2d)} == {0.9}


@pytest.mark.parametrize(
    ("name", "part", "number", "size"),
    [
        ("supervised", "train_lb", 4, 6),
        ("supervised_mixup", "train_lb", 4, 6),
        ("pimodel", "train_ulb", 5, 18),
        ("mixmatch", "train_ulb", 5, 18),
        ("meanteacher", "train_ulb", 5, 18),
    ],
)
def test_precise_ones_are_means_over_clean_batches(build, name, part, number, size):
    statistics = "precise" if name == "meanteacher" else "auto"
    algorithm = in_double(double_batches(build(name, bn_statistics=statistics, bn_batches=5)))
    key = {"train_lb": "x_lb", "train_ulb": "x_ulb_w"}[part]
    sums = {}
    for place in range(5):
        x = batch_of(algorithm, part, place * size, size, number)[key].double()
        shadow = algorithm.ema.shadow
        for layer, (mean, var) in batch_statistics(algorithm.model, shadow, x).items():
            old = sums.get(layer, (0, 0))
            sums[layer] = old[0] + mean, old[1] + var
    students = {n: b.clone() for n, b in bn_buffers(algorithm.model).items()}
    numbers = torch.get_rng_state()
    own = algorithm.evaluated().statistics
    for layer, (mean, var) in sums.items():
        assert (mean / 5).abs().max() > 1e-2
        torch.testing.assert_close(own[f"{layer}.running_mean"], mean / 5, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(own[f"{layer}.running_var"], var / 5, rtol=1e-10, atol=1e-13)
    assert all(torch.equal(b, students[n]) for n, b in bn_buffers(algorithm.model).items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert algorithm.run_state.statistics_seconds > 0


def test_they_are_recomputed_when_the_weights_have_moved_and_only_then(build, monkeypatch):
    algorithm = build("supervised")
    algorithm.call_hook("before_run")
    made = []
    clean = algorithm.clean_batches
    monkeypatch.setattr(algorithm, "clean_batches", lambda: made.append(1) or clean())
    algorithm.evaluate("eval")
    algorithm.evaluate("eval")
    assert len(made) == 1
    algorithm.call_hook("after_train_step", "EMAHook")
    algorithm.evaluate("eval")
    assert len(made) == 2


@pytest.mark.parametrize("name", ["metasemi", "meanteacher", "vat", "sntg", "supervised"])
def test_no_number_of_the_training_depends_on_them(build, name):
    """The host's way and ours; the host's own controller restores what ours restores in place."""
    ends = []
    for statistics in ("student", "precise", "auto"):
        algorithm = build(name, bn_statistics=statistics, num_train_iter=4, num_eval_iter=2)
        algorithm.train()
        ends.append(algorithm.model.state_dict() | algorithm.ema.shadow)
    for other in ends[1:]:
        assert all(torch.equal(value, other[key]) for key, value in ends[0].items())


FAST_SWA = {"swa_start": 0.4, "swa_cycle": 0.2, "swa_horizon": 0.6}


@pytest.mark.parametrize(
    ("name", "changes"), [("metasemi", {}), ("supervised", {}), ("fast_swa", FAST_SWA)]
)
def test_a_checkpoint_holds_the_net_that_was_evaluated(tiny_run, build, name, changes):
    run = train(**tiny_run(name, save_name="run", **changes))
    saved = checkpoint.verified(f"{run['folder']}/latest_model.pth")[1]
    algorithm = build(name, **changes)
    net = algorithm.ema_model
    net.load_state_dict(saved["ema_model"])
    test = default_collate(algorithm.dataset_dict["eval"].__getitems__(range(360)))
    with torch.no_grad():
        logits = net.eval()(test["x_lb"])["logits"]
        net.load_state_dict(saved["model"])
        students = net.eval()(test["x_lb"])["logits"]
    assert 100 * (logits.argmax(1) != test["y_lb"]).double().mean() == run["last_error"]
    assert not torch.equal(logits, students)


def test_what_makes_no_such_passes_has_no_statistics_of_a_teacher():
    for changes in ({"algorithm": "pimodel"}, {"teacher": "student"}):
        options = TINY_RUN | {"algorithm": "metasemi", "bn_statistics": "teacher"} | changes
        with pytest.raises(UserError, match=r"makes no passes of the averaged net .* use precise"):
            train(**options)

"""The diagnostics are right, and the training does not notice them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transcription import (
    BETA,
    SEED,
    B,
    Transcription,
    U,
    algorithm_1,
    cross_entropy,
    prepare,
)

from metasemi_plugin import random_numbers, train
from metasemi_plugin.algorithms import diagnostics
from metasemi_plugin.algorithms.diagnostics import (
    assumption1_ratio,
    kept_and_dropped,
    kept_shares,
    pseudo_label_accuracy,
)
from metasemi_plugin.mixup import Mixed, mix


def test_kept_shares_on_hand_values():
    # samples 0, 1 labeled; lambda 0.25: sample i is mostly its partner
    ulb = mix(torch.zeros(4, 1), torch.eye(4), 0.25, torch.tensor([2, 0, 3, 1]))
    shares = kept_shares(torch.tensor([1.0, 0.0, 0.0, 1.0]), ulb, num_lb=2)
    assert shares == {"kept": 0.5, "kept_labeled": 0.5, "kept_unlabeled": 0.5}
    shares = kept_shares(torch.tensor([0.0, 1.0, 0.0, 1.0]), ulb, num_lb=2)
    assert shares == {"kept": 0.5, "kept_labeled": 1.0, "kept_unlabeled": 0.0}


def test_pseudo_label_accuracy_on_hand_values():
    targets = torch.tensor([0, 2, -1])
    pseudo = torch.eye(10)[[0, 5, 7]]  # right, wrong, unknown
    ulb = mix(torch.zeros(5, 1), torch.rand(5, 10), 0.9, torch.arange(5))  # samples 0, 1 labeled
    keep = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    got = pseudo_label_accuracy(keep, ulb, pseudo, torch.tensor([0, 1, 2]), targets)
    assert got == {"pseudo_label_acc_kept": 1.0, "pseudo_label_acc_dropped": 0.0}
    none_dropped = pseudo_label_accuracy(torch.ones(5), ulb, pseudo, torch.arange(3), targets)
    assert none_dropped["pseudo_label_acc_dropped"].isnan()  # which nobody records
    assert pseudo_label_accuracy(keep, ulb, pseudo, None, targets) == {}
    assert pseudo_label_accuracy(keep, ulb, pseudo, torch.tensor([0, 1, 2]), None) == {}


def test_the_hook_alone_sees_the_truth(build, batch):
    """And what it logs of it follows the classes of the unlabeled images."""
    algorithm = prepare(build, "metasemi", mixup_beta=BETA)
    algorithm.dataset_dict["train_ulb"] = None
    torch.manual_seed(SEED)
    out, log = algorithm.train_step(**batch, idx_ulb=torch.arange(U))
    assert 0 < out["weights"].sum() < B + U
    algorithm.out_dict, algorithm.log_dict = out, dict(log)
    classes = out["y_ulb"].argmax(1)
    for truth, right in ((classes, 1.0), ((classes + 1) % 10, 0.0)):
        algorithm.dataset_dict["train_ulb"] = SimpleNamespace(targets=truth.numpy())
        algorithm.call_hook("before_run", "KeptHook")
        algorithm.call_hook("after_train_step", "KeptHook")
        logged = {name.removeprefix("train/"): n for name, n in algorithm.log_dict.items()}
        assert logged["kept"] == pytest.approx(out["weights"].mean().item())
        assert logged["pseudo_label_acc_kept"] == logged["pseudo_label_acc_dropped"] == right
    of_labeled = out["ulb"].dominant < B
    kept = out["weights"][of_labeled].mean().item()
    assert 0 < of_labeled.sum() < B + U
    assert logged["kept_labeled"] == pytest.approx(kept)
    assert logged["kept_labeled"] != logged["kept"]


def test_kept_is_logged_before_the_processes_come_together(build):
    hooks = list(build().hooks_dict)
    assert hooks[:2] == ["KeptHook", "ParamUpdateHook"]


def squared_length(grads):
    return sum((g**2).sum() for g in grads)


@pytest.mark.parametrize("consistency", ["none", "ict"])
def test_ratio_equals_assumption_1(build, batch, consistency):
    """E ||grad L_meta||^2 / ||grad E G||^2; a consistency term is no part of L_meta."""
    algorithm = prepare(build, "metasemi", mixup_beta=BETA, consistency=consistency)
    batches = [batch, {**batch, "x_ulb_w": batch["x_ulb_w"].flip(0), "x_lb": -batch["x_lb"]}]
    ratios = []
    for some in ([batches[0]], [batches[1]]):
        it = Transcription(algorithm)
        params = list(it.theta.values())
        meta_loss, _, (x, y) = algorithm_1(it, **some[0])
        g = torch.autograd.grad(cross_entropy(it.student(x), y).sum(), params)
        ratios.append((torch.autograd.grad(meta_loss, params), g))
        torch.manual_seed(SEED)
        expected = squared_length(ratios[-1][0]) / squared_length(g)
        assert expected > 1e-6
        assert assumption1_ratio(algorithm, some) == pytest.approx(expected.item(), rel=1e-10)

    # Over two batches: a mean of squares above, the square of a mean below.
    class SameDraws:
        """Restarts the random numbers before each batch, as the transcription does."""

        def __iter__(self):
            for each in batches:
                torch.manual_seed(SEED)
                yield each

    above = sum(squared_length(meta) for meta, _ in ratios) / 2
    below = squared_length([(a + b) / 2 for a, b in zip(ratios[0][1], ratios[1][1], strict=True)])
    got = assumption1_ratio(algorithm, SameDraws())
    assert got == pytest.approx((above / below).item(), rel=1e-10)


def test_the_scale_of_the_loss_is_taken_out_again(build, batch):
    algorithm, ratios = prepare(build, "metasemi", mixup_beta=BETA), []
    for scale in (1.0, 1024.0):
        algorithm.loss_scaler = SimpleNamespace(get_scale=lambda scale=scale: scale)
        torch.manual_seed(SEED)
        ratios.append(assumption1_ratio(algorithm, [batch]))
    assert ratios[1] == pytest.approx(ratios[0], rel=1e-10)


def test_the_measurement_leaves_no_trace(build):
    algorithm = build(net_args={"dropout": 0.3})
    algorithm.call_hook("before_run")
    algorithm.model.train()
    before = {n: t.clone() for n, t in algorithm.model.state_dict().items()}
    teachers = {n: t.clone() for n, t in algorithm.ema.statistics.items()}
    numbers = random_numbers.state()
    positions = [(p.start, p.stop) for p in algorithm.positions]
    assert assumption1_ratio(algorithm, algorithm.spare_batches(2)) > 0
    assert all(torch.equal(before[n], t) for n, t in algorithm.model.state_dict().items())
    assert all(torch.equal(teachers[n], t) for n, t in algorithm.ema.statistics.items())
    assert all(p.grad is None for p in algorithm.model.parameters())
    assert torch.equal(random_numbers.state()["torch"], numbers["torch"])
    assert [(p.start, p.stop) for p in algorithm.positions] == positions


def test_training_with_and_without_it_is_bit_identical(tiny_run):
    saved = []
    shown = {"image_grid": 1, "use_tensorboard": True}
    for options in ({}, {"assumption1": 2, "assumption1_batches": 2, **shown}):
        run = train(**tiny_run(save_name=f"run{len(saved)}", net_args={"dropout": 0.3}, **options))
        saved.append(torch.load(run["folder"] + "/latest_model.pth", weights_only=True))
    a, b = saved
    for part in ("model", "ema_model"):
        assert all(torch.equal(a[part][n], b[part][n]) for n in a[part])
    for n, state in a["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], b["optimizer"]["state"][n]["momentum_buffer"])
    assert a["history"] == b["history"]
    assert torch.equal(a["random"]["torch"], b["random"]["torch"])


def test_spare_batches_are_not_those_that_are_trained_on(build):
    algorithm = build()
    algorithm.epoch = 0
    algorithm.call_hook("before_train_epoch")
    trained = next(iter(algorithm.loader_dict["train_ulb"]))
    first, second = algorithm.spare_batches(2)
    assert first.keys() == second.keys() == {"x_lb", "y_lb", "x_ulb_w", "idx_ulb"}
    assert first["x_ulb_w"].shape == trained["x_ulb_w"].shape
    assert len(first["x_lb"]) == algorithm.args.batch_size
    (again, _) = algorithm.spare_batches(2)
    algorithm.it = 1
    (later, _) = algorithm.spare_batches(2)
    assert torch.equal(first["x_ulb_w"], again["x_ulb_w"])
    for other in (trained, second, later):
        assert not torch.equal(first["idx_ulb"], other["idx_ulb"])


def test_both_are_in_tensorboard(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"assumption1": 3, "assumption1_batches": 2, "use_tensorboard": True}
    run = train(**tiny_run(save_name="run", **options))
    curves = EventAccumulator(run["folder"] + "/tensorboard", {"histograms": 0})
    curves.Reload()
    ratios = curves.Scalars("train/assumption1_ratio")
    assert [r.step for r in ratios] == [3, 6]  # 3 is no num_log_iter
    assert all(r.value > 0 for r in ratios)
    assert "iteration 3: ratio of Assumption 1 " in Path(run["folder"], "log.txt").read_text()
    histograms = curves.Histograms("train/meta_gradient_histogram")
    assert [h.step for h in histograms] == [2, 4, 6]
    assert histograms[0].histogram_value.num == 24


def test_without_a_meta_gradient_there_is_no_histogram(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(**tiny_run(save_name="run", weights="ones", use_tensorboard=True))
    curves = EventAccumulator(run["folder"] + "/tensorboard", {"histograms": 0})
    curves.Reload()
    assert curves.Tags()["histograms"] == []


def test_what_is_shown_of_a_step(monkeypatch):
    """Nothing of a gradient that is not finite; the labeled images are those of all processes."""
    shown = []
    writer = SimpleNamespace(
        add_histogram=lambda name, values, step: shown.append((name, step)),
        add_image=lambda name, grid, step: shown.append((name, step, grid)),
    )
    monkeypatch.setattr(diagnostics.collectives, "world_size", lambda: 2)
    monkeypatch.setattr(
        diagnostics, "kept_and_dropped", lambda ulb, gradient, num_lb: f"{num_lb} labeled"
    )
    algorithm = SimpleNamespace(
        it=3, num_log_iter=4, num_eval_iter=4, tb_log=SimpleNamespace(writer=writer),
        args=SimpleNamespace(image_grid=None, assumption1=0),
        out_dict={"lb": SimpleNamespace(x=torch.zeros(3, 1)), "ulb": None},
    )  # fmt: skip
    for bad in (torch.nan, torch.inf, -torch.inf):
        algorithm.out_dict["meta_gradient"] = torch.tensor([1.0, bad])
        diagnostics.DiagnosticsHook().after_train_step(algorithm)
    assert shown == []
    algorithm.out_dict["meta_gradient"] = torch.tensor([1.0, -1.0])
    diagnostics.DiagnosticsHook().after_train_step(algorithm)
    assert shown == [
        ("train/meta_gradient_histogram", 4), ("train/kept_and_dropped", 4, "6 labeled")
    ]  # fmt: skip


def test_the_images_are_those_most_clearly_kept_and_dropped():
    """Sample n is black but for row n, so that its tile tells which sample it shows."""
    gradient = torch.tensor([-1.0, 2.0, -3.0, 0.0, 1.0])
    x = torch.eye(6)[:5, None, :, None].expand(5, 3, 6, 6)
    y = torch.nn.functional.one_hot(torch.arange(5) % 3, 3).float()
    grid = kept_and_dropped(
        Mixed(x, y, 0.75, torch.arange(5).flip(0), torch.arange(5)), gradient, 2, count=4
    )
    assert grid.dtype == torch.uint8
    # Tiles of 96 pixels and a caption of 56, with 4 pixels around them; a pixel of x is 16.
    rows = [
        [
            grid[0, top : top + 96 : 16, left + 48].nonzero().flatten().tolist()
            for left in range(4, 4 + 4 * 100, 100)
        ]
        for top in (4 + 8, 4 + 152 + 4 + 8)
    ]
    blank = list(range(6))
    assert rows == [[[2], [0], [3], blank], [[1], [4], blank, blank]]


@pytest.mark.parametrize(
    ("options", "steps"), [({}, [3, 6]), ({"image_grid": 4}, [4]), ({"image_grid": 0}, None)]
)
def test_the_images_are_in_tensorboard(tiny_run, options, steps):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(**tiny_run(save_name="run", use_tensorboard=True, **options))
    curves = EventAccumulator(run["folder"] + "/tensorboard")
    curves.Reload()
    if steps is None:
        assert curves.Tags()["images"] == []
    else:
        assert [image.step for image in curves.Images("train/kept_and_dropped")] == steps

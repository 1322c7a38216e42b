"""Eq. 14: Meta-Semi with each consistency term, against a transcription."""

import math

import pytest
import torch
from transcription import (
    BETA,
    C,
    Transcription,
    U,
    algorithm_1,
    assert_same_step,
    ict_term,
    prepare,
    squared_error,
    teacher_gets_no_gradient,
)

from metasemi_plugin.algorithms.consistency import TERMS, Vat, ema_logits, student_logits, unit
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.views import host_name_with_views, ulb_views
from metasemi_plugin.ramp import sigmoid_ramp

ALPHA, EPS = 0.4, 3.0


def ict(it, x_ulb_w, x_ulb_s):
    return ict_term(it, x_ulb_w, it.teacher(x_ulb_w), alpha=ALPHA)


def meanteacher(it, x_ulb_w, x_ulb_s):
    return squared_error(it.student(x_ulb_s).softmax(1), it.teacher(x_ulb_w).softmax(1))


def pimodel(it, x_ulb_w, x_ulb_s):
    return squared_error(it.student(x_ulb_s).softmax(1), it.student(x_ulb_w).softmax(1).detach())


def kl(p, q):
    return torch.stack(
        [sum(p[i, c] * (p[i, c] / q[i, c]).log() for c in range(C)) for i in range(len(p))]
    )


def vat(it, x_ulb_w, x_ulb_s):
    p = it.student(x_ulb_w).softmax(1).detach()
    d = torch.randn(x_ulb_w.shape, dtype=torch.float64)
    d = torch.stack([0.01 * row / row.norm() for row in d]).requires_grad_()
    (g,) = torch.autograd.grad(kl(p, it.student(x_ulb_w + d).softmax(1)).sum(), d)
    r = torch.stack([EPS * row / row.norm() for row in g])
    return kl(p, it.student(x_ulb_w + r).softmax(1)).mean()


TRANSCRIBED = {"ict": ict, "meanteacher": meanteacher, "pimodel": pimodel, "vat": vat}
OPTIONS = {"ict": {"ict_alpha": ALPHA}, "vat": {"vat_eps": EPS}}


def metasemi_with(build, term, **changes):
    options = {"mixup_beta": BETA, "num_train_iter": 40, **OPTIONS.get(term, {})}
    return prepare(build, "metasemi", consistency=term, **options, **changes)


def with_second_view(batch, term):
    if "x_ulb_s" not in TERMS[term].views:
        return batch
    return {**batch, "x_ulb_s": torch.randn(U, 3, 16, 16).double()}


@pytest.mark.parametrize("term", TRANSCRIBED)
def test_step_equals_eq_14(build, batch, term):
    algorithm = metasemi_with(build, term, consistency_weight=1000.0, consistency_ramp=0.5)
    algorithm.it = 5
    batch = with_second_view(batch, term)
    it = Transcription(algorithm)
    meta_loss, _, _ = algorithm_1(it, batch["x_lb"], batch["y_lb"], batch["x_ulb_w"])
    consistency = TRANSCRIBED[term](it, batch["x_ulb_w"], batch.get("x_ulb_s"))
    weight = 1000 * math.exp(-5 * (1 - 5 / 20) ** 2)  # half of 40 iterations is 20
    assert weight * consistency > 1e-3 * meta_loss
    assert_same_step(algorithm, batch, it, meta_loss + weight * consistency)
    assert algorithm.out_dict["meta_loss"].item() == pytest.approx(meta_loss.item())
    assert algorithm.log_dict["train/consistency_loss"] == pytest.approx(consistency.item())


@pytest.mark.parametrize("term", TRANSCRIBED)
def test_no_gradient_reaches_the_teacher(build, batch, term):
    algorithm = metasemi_with(build, term)
    algorithm.it = 40
    assert teacher_gets_no_gradient(algorithm, with_second_view(batch, term))


def test_each_term_is_alive_and_stops_at_its_targets(build, batch):
    """A gradient on the student alone, and none where student and target agree."""
    algorithm = metasemi_with(build, "meanteacher")
    x = batch["x_ulb_w"]
    teacher = algorithm.model(x)["logits"]
    for name in ("meanteacher", "pimodel"):
        assert TERMS[name]()(algorithm, teacher.detach(), x, x).item() == pytest.approx(
            0, abs=1e-25
        )
    assert Vat(0.0)(algorithm, teacher, x).item() == pytest.approx(0, abs=1e-12)


def test_vats_direction_survives_single_precision(build, batch):
    """Against the exact power iteration in float64; the host's xi of 1e-6 gives noise here."""
    algorithm = prepare(build, "metasemi")
    x = batch["x_ulb_w"]

    def direction(xi, dtype):
        algorithm.model.to(dtype)
        torch.manual_seed(0)
        d = torch.randn(x.shape, dtype=torch.float64).to(dtype)
        d = (xi * d / d.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).requires_grad_()
        with torch.no_grad():
            log_p = algorithm.model(x.to(dtype))["logits"].log_softmax(1)
        (g,) = torch.autograd.grad(Vat.kl(algorithm, log_p, x.to(dtype) + d).sum(), d)
        return torch.nn.functional.normalize(g.flatten(1).double(), eps=1e-30)

    exact = direction(1e-6, torch.float64)
    ours = (direction(Vat.XI, torch.float32) * exact).sum(1).mean()
    hosts = (direction(1e-6, torch.float32) * exact).sum(1).mean()
    assert ours > 0.95
    assert hosts < 0.5


def test_vat_is_in_single_precision_whatever_amp_says(build, batch):
    algorithm = build(consistency="vat")
    algorithm.call_hook("before_run")
    x, seen = batch["x_ulb_w"].float(), []
    algorithm.model.register_forward_hook(lambda net, _, out: seen.append(out["logits"].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        teacher = student_logits(algorithm, x)
        Vat(EPS)(algorithm, teacher, x)
    assert seen == [torch.bfloat16, *[torch.float32] * 3]


def test_a_direction_has_length_one_however_small_it_is():
    d = torch.randn(4, 3, 2, 2)
    d[0] = -d[0].abs()
    expected = d / d.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    for scale in (1.0, 1e-30):
        torch.testing.assert_close(unit(scale * d), expected)
    assert not unit(torch.zeros(4, 3, 2, 2)).any()


def test_terms_leave_the_running_statistics_alone(build, batch):
    algorithm = metasemi_with(build, "ict")
    x, teacher = batch["x_ulb_w"], torch.randn(U, C).double()
    before = {n: b.clone() for n, b in algorithm.model.named_buffers()}
    for name in TRANSCRIBED:
        algorithm.args.consistency = name
        TERMS[name].from_args(algorithm.args)(algorithm, teacher, x, x)
    assert all(torch.equal(before[n], b) for n, b in algorithm.model.named_buffers())


def test_the_teachers_logits_have_no_graph_and_the_precision_of_the_images(build, batch):
    algorithm = build()
    algorithm.call_hook("before_run")
    x = batch["x_ulb_w"].float()
    with torch.autocast("cpu", torch.bfloat16):
        student, teacher = student_logits(algorithm, x), ema_logits(algorithm, x)
    assert student.dtype == teacher.dtype == torch.float32
    assert student.requires_grad
    assert not teacher.requires_grad


def test_no_term_is_nothing(batch):
    nothing = TERMS["none"]()(None, torch.randn(U, C), batch["x_ulb_w"], None)
    assert torch.equal(nothing, torch.zeros(()))


def test_the_ramp_is_the_sigmoid_one_and_ends(build):
    algorithm = build(num_train_iter=40)
    values = []
    for algorithm.it in (0, 5, 10, 39):
        values.append(sigmoid_ramp(algorithm, 0.25))
    assert values == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1])
    algorithm.it = 0
    assert sigmoid_ramp(algorithm, 0.0) == 1


@pytest.mark.parametrize(
    ("term", "weight"),
    [("none", 0), ("ict", 100), ("meanteacher", 50), ("pimodel", 10), ("vat", 0.3)],
)
def test_a_term_has_its_own_weight_unless_told(build, term, weight):
    assert build(consistency=term).consistency_weight == weight
    assert build(consistency=term, consistency_weight=7).consistency_weight == 7


@pytest.mark.parametrize(
    ("term", "keys", "host_name"),
    [
        ("none", {"x_ulb_w"}, "pseudolabel"),
        ("ict", {"x_ulb_w"}, "pseudolabel"),
        ("vat", {"x_ulb_w"}, "pseudolabel"),
        ("meanteacher", {"x_ulb_w", "x_ulb_s"}, "pimodel"),
        ("pimodel", {"x_ulb_w", "x_ulb_s"}, "pimodel"),
    ],
)
def test_views_follow_the_term(build, term, keys, host_name):
    algorithm = build(consistency=term)
    batch = algorithm.loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(batch) == {"idx_ulb", *keys}
    args = resolve(None, {"consistency": term})
    assert set(ulb_views(args)) == keys
    assert host_name_with_views(args) == host_name

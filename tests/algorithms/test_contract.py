"""What holds for every algorithm, the host's and ours, one row of a table each.

That seeds decide and that all state survives a checkpoint is shown in tests/host/test_runs.py, for
the same algorithms.
"""

import logging
from typing import NamedTuple

import pytest
import torch

from metasemi_plugin.algorithms import ALGORITHMS as OURS
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.nets import net_builder
from metasemi_plugin.host.on_device import on_device
from metasemi_plugin.host.rand_augment import rand_augment
from metasemi_plugin.host.views import supported_algorithms

ONE_WEAK = {"x_ulb_w": "weak"}
TWO_WEAK = {"x_ulb_w": "weak", "x_ulb_s": "weak"}
WEAK_STRONG = {"x_ulb_w": "weak", "x_ulb_s": rand_augment}
REMIXMATCH = {
    "x_ulb_w": "weak",
    "x_ulb_s_0": rand_augment,
    "x_ulb_s_1": rand_augment,
    "x_ulb_s_0_rot": "rotated",
}


class Row(NamedTuple):
    """Views: those of the paper. Terms: all that is added to the first loss, by the name it is
    logged under, and the attribute that weighs it. Changes: options under which none is masked."""

    name: str
    views: dict
    terms: dict = {}
    changes: dict = {}


UNSUP = {"unsup_loss": "lambda_u"}
TABLE = [
    Row("supervised", {}),
    Row("fullysupervised", {}),
    Row("supervised_mixup", {}),
    Row("pseudolabel", ONE_WEAK, UNSUP, {"p_cutoff": 0.0}),
    Row("pimodel", TWO_WEAK, UNSUP),
    Row("temporal_ensembling", ONE_WEAK, UNSUP),
    Row("meanteacher", TWO_WEAK, UNSUP),
    Row("fast_swa", TWO_WEAK, UNSUP),
    Row("vat", ONE_WEAK, {**UNSUP, "loss_entmin": "lambda_ent"}),
    # With the ratio at 0, the derivative by lambda_u is that of the consistency loss alone.
    *(
        Row(
            "sntg",
            TWO_WEAK,
            {**UNSUP, "sntg_loss": "lambda_sntg"},
            {"sntg_base": base, "sntg_loss_ratio": 0.0},
        )
        for base in ("pimodel", "meanteacher")
    ),
    Row("ict", ONE_WEAK, UNSUP),
    Row("mixmatch", TWO_WEAK, UNSUP),
    Row("mixmatch_original", TWO_WEAK, UNSUP),
    Row("remixmatch", REMIXMATCH, {**UNSUP, "(u1)": "lambda_kl", "(rotation)": "lambda_rot"}),
    Row("fixmatch", WEAK_STRONG, UNSUP, {"p_cutoff": 0.0}),
    Row("uda", WEAK_STRONG, UNSUP, {"p_cutoff": 0.0}),
    Row("flexmatch", WEAK_STRONG, UNSUP, {"p_cutoff": 0.0}),
    Row("freematch", WEAK_STRONG, {**UNSUP, "(fairness)": "lambda_e"}),
    Row("softmatch", WEAK_STRONG, UNSUP),
    Row("metasemi", ONE_WEAK),
    Row("metasemi_mask_trial", ONE_WEAK),
    Row("learning_to_reweight", ONE_WEAK),
    *(
        Row(
            "metasemi",
            views,
            {"consistency_loss": "consistency_weight"},
            {"consistency": name},
        )
        for name, views in {
            "ict": ONE_WEAK,
            "vat": ONE_WEAK,
            "pimodel": TWO_WEAK,
            "meanteacher": TWO_WEAK,
        }.items()
    ),
]
# Another one is taken up with the views that it declares, until it has a row.
OTHERS = sorted(OURS.keys() - {row.name for row in TABLE})
TABLE += [Row(name, OURS[name].ulb_views) for name in OTHERS]
STEPS = 3


def test_the_table_has_them_all():
    assert {row.name for row in TABLE} == set(supported_algorithms())


@pytest.mark.parametrize("name", sorted({row.name for row in TABLE}))
def test_where_messages_go_is_handed_on(tiny_run, name):
    args = resolve(None, tiny_run(name))
    tb_log, logger = object(), logging.Logger("run")
    algorithm = on_device(name)(args, net_builder(args), tb_log, logger)
    assert algorithm.tb_log is tb_log
    assert algorithm.print_fn == logger.info


def gradient(loss, params):
    grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
    return torch.cat([g.flatten() for g in grads if g is not None] or [torch.zeros(1)])


@pytest.mark.parametrize(
    "row", TABLE, ids=lambda row: "-".join([row.name, *map(str, row.changes.values())])
)
def test_contract(row, build, first_batch):
    algorithm = build(row.name, num_train_iter=STEPS, num_eval_iter=STEPS, **row.changes)
    # Else an untrained net gives all images one class, which FreeMatch's fairness calls fair.
    for name, p in algorithm.model.named_parameters():
        p.data.mul_(30 if name.endswith("classifier.weight") else 1)
    algorithm.call_hook("before_run")
    algorithm.model.train()
    params = list(algorithm.model.parameters())

    # the views
    dataset = algorithm.dataset_dict["train_ulb"]
    assert dataset.views == row.views
    batch = first_batch(algorithm)
    assert {key for key in batch if key.startswith("x_ulb")} == set(row.views)

    for it in range(STEPS):
        algorithm.it = it
        before = [p.detach().clone() for p in params]
        buffers = {n: b.clone() for n, b in algorithm.model.named_buffers()}
        algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)

        # numbers are logged, not tensors with all their graph
        for value in algorithm.log_dict.values():
            alone = isinstance(value, torch.Tensor) and value.ndim == 0 and not value.requires_grad
            assert alone or isinstance(value, int | float)

        # a step computes a loss and leaves the net as it was, but for one move of the statistics
        assert all(torch.equal(p, old) for p, old in zip(params, before, strict=True))
        assert all(p.grad is None or not p.grad.any() for p in params)
        assert all(p.requires_grad for p in params)
        assert all(module.training for module in algorithm.model.modules())
        assert algorithm.ema.backup == algorithm.bn_controller.moving == {}
        assert algorithm.bn_controller.frozen == []
        for name, b in algorithm.model.named_buffers():
            moved = b - buffers[name]
            assert moved == 1 if name.endswith("tracked") else moved.any(), name

        for name in ("ParamUpdateHook", "EMAHook"):
            algorithm.call_hook("after_train_step", name)
        assert any(not torch.equal(p, old) for p, old in zip(params, before, strict=True))

    # The ramps are over. A term is linear in its weight: its gradient is that of d loss / d weight.
    algorithm.it = STEPS
    weights = {}
    for term, attribute in row.terms.items():
        weights[term] = torch.tensor(float(getattr(algorithm, attribute)), requires_grad=True)
        setattr(algorithm, attribute, weights[term])
    held_fixed = list(algorithm.ema.shadow.values())
    held_fixed += [algorithm.ensemble] if hasattr(algorithm, "ensemble") else []
    for t in held_fixed:
        t.requires_grad_()
    out_dict, log_dict = algorithm.train_step(**batch)
    for term, weight in weights.items():
        (value,) = torch.autograd.grad(out_dict["loss"], weight, create_graph=True)
        assert gradient(value, params).abs().max() > 1e-7, f"{term} does not reach the student"
    logged = {
        key.removeprefix("train/") for key, value in log_dict.items() if "loss" in key and value
    }
    assert logged - {"sup_loss", "total_loss", "loss"} <= set(row.terms)

    # no gradient for the teacher and the ensemble
    out_dict["loss"].backward()
    assert all(t.grad is None for t in held_fixed)

    # the first loss, by itself
    for attribute in row.terms.values():
        setattr(algorithm, attribute, 0.0)
    out_dict, _ = algorithm.train_step(**batch)
    assert gradient(out_dict["loss"], params).abs().max() > 1e-4

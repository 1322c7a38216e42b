"""Ten steps on 1, 2 and 4 processes with the same global batch come to the same."""

import pytest
import several
import torch
from processes import on_ranks

from metasemi_plugin.algorithms import ALGORITHMS

# fmt: off
# Each of ours takes part as it is; below, with options and other nets. The mixture and the
# sub-batches of mixmatch_original are of the rank, so that several processes come to others.
CASES: dict[str, dict] = {name: {} for name in ALGORITHMS if name != "mixmatch_original"} | {
    "metasemi+ict": {"algorithm": "metasemi", "consistency": "ict", "consistency_weight": 5.0},
    "metasemi+vat": {"algorithm": "metasemi", "consistency": "vat", "vat_eps": 1.0},
    "metasemi+sync_bn": {"algorithm": "metasemi", "net": "several:bn_net", "sync_bn": True},
    "metasemi+ict+sync_bn": {
        "algorithm": "metasemi", "consistency": "ict", "consistency_weight": 5.0,
        "net": "several:bn_net", "sync_bn": True,
    },
    "metasemi+assumption1": {
        "algorithm": "metasemi", "assumption1": 5, "assumption1_batches": 2, "num_train_iter": 5,
        "num_eval_iter": 5,
    },
    "ict": {"ulb_loss_ratio": 5.0},
    "sntg": {"ulb_loss_ratio": 1.0},
    "temporal_ensembling": {"uratio": 40},  # images are seen again
    "flexmatch": {"p_cutoff": 0.12},
    # Recomputed by each process by itself.
    "supervised_mixup+precise": {
        "algorithm": "supervised_mixup", "net": "several:bn_net", "sync_bn": True,
    },
    "mean teacher": {"algorithm": "meanteacher", "net": "several:bn_net", "sync_bn": True},
    "fast_swa": {"swa_start": 0.4, "swa_cycle": 0.2, "swa_horizon": 0.6},
}
# fmt: on
MASKED = (
    "metasemi",
    "metasemi+ict",
    "metasemi+vat",
    "metasemi+sync_bn",
    "metasemi+ict+sync_bn",
    "learning_to_reweight",
)


def close(a, b, where):
    for name, value in a.items():
        difference = (value - b[name]).abs().max()
        assert difference <= 1e-9 * value.abs().max(), f"{where}: {name}"


@pytest.mark.parametrize("case", CASES)
def test_ten_steps(case):
    options = several.RUN | {"algorithm": case} | CASES[case]
    one = several.steps(options)
    moved = [
        (one["model"][name] - p).abs().max() / p.abs().max()
        for name, p in one["before"].items()
        if "running" not in name
    ]
    assert min(moved) > 1e-4
    if "assumption1" in case:
        assert one["logs"][-1]["train/assumption1_ratio"] > 0
    if case == "temporal_ensembling":
        assert one["logs"][-1]["train/has_target"] > 0
    if case in MASKED:
        assert one["masks"].shape == (10, 32)
        assert sum(0 < row.sum() < 32 for row in one["masks"]) > 5
    for count in (2, 4) if case in MASKED or case == "ict" else (2,):
        for rank, found in enumerate(on_ranks(count, several.steps, options)):
            where = f"rank {rank} of {count}"
            for part in ("before", "model", "ema", "statistics"):
                close(one[part], found[part], where)
            if case in MASKED:
                assert torch.equal(found["masks"], one["masks"]), where
            if one["ensemble"] is not None:
                close({"ensemble": one["ensemble"]}, {"ensemble": found["ensemble"]}, where)
            assert found["history"] == one["history"], where
            for ours, theirs in zip(found["logs"], one["logs"], strict=True):
                assert ours.keys() == theirs.keys(), where
                for key, value in theirs.items():
                    assert ours[key] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), key


def test_partners_of_the_rank_make_other_numbers():
    options = several.RUN | {"algorithm": "metasemi"}
    one = several.steps(options)
    a, b = on_ranks(2, several.steps, options | {"mixup_partners": "rank"})
    for name, value in a["model"].items():
        assert torch.equal(value, b["model"][name])
    assert not torch.equal(a["model"]["classifier.weight"], one["model"]["classifier.weight"])
    assert any(0 < log["train/kept"] < 1 for log in a["logs"])


def test_without_sync_bn_those_of_rank_0_are_evaluated():
    options = several.RUN | {"algorithm": "metasemi", "net": "several:bn_net"}
    one = several.steps(options)
    a, b = on_ranks(2, several.steps, options)
    for name, value in a["statistics"].items():
        assert torch.equal(value, b["statistics"][name])
        assert not torch.equal(value, one["statistics"][name])
    assert a["history"] == b["history"]

"""The trials of the mask: what judges, and from when on."""

import pytest
import torch
import torch.nn.functional as F
from transcription import Transcription, algorithm_1, double_batches, prepare

from metasemi_plugin.host.streams import Stream, collated


def test_more_images_judge_than_are_trained_on(build, batch):
    """X~ of 10: the mixed first ten of a stream of its own; U~ as ever."""
    algorithm = prepare(build, "metasemi_mask_trial", mask_labels=10, mixup_beta=0.7)
    algorithm.it = 1
    stream = Stream(algorithm.dataset_dict["train_lb"], algorithm.args.seed, 6)
    judges = collated(stream.__getitems__(list(range(10, 20))))
    double_batches(algorithm)
    torch.manual_seed(5)
    out, _ = algorithm.train_step(**batch)
    torch.manual_seed(5)
    lam = torch.distributions.Beta(0.7, 0.7).sample().item()
    partner = torch.randperm(10)
    x = judges["x_lb"].double()
    y = F.one_hot(judges["y_lb"], 10).double()
    torch.testing.assert_close(out["lb"].x, lam * x + (1 - lam) * x[partner])
    torch.testing.assert_close(out["lb"].y, lam * y + (1 - lam) * y[partner])
    assert len(out["ulb"].x) == len(batch["x_lb"]) + len(batch["x_ulb_w"])
    assert len(out["meta_gradient"]) == len(out["ulb"].x)


def test_with_the_batchs_own_images_it_is_meta_semi(build, batch):
    algorithm = prepare(build, "metasemi_mask_trial", mixup_beta=0.7)
    it = Transcription(algorithm)
    expected, weights, _ = algorithm_1(it, **batch)
    assert 0 < weights.sum() < len(weights)
    torch.manual_seed(5)
    torch.testing.assert_close(algorithm.train_step(**batch)[0]["loss"], expected)


@pytest.mark.parametrize(("it", "kept"), [(0, True), (3, True), (4, False), (7, False)])
def test_before_its_start_all_are_kept(build, batch, it, kept):
    algorithm = prepare(build, "metasemi_mask_trial", mask_start=0.5, mixup_beta=0.7,
                        num_train_iter=8, num_eval_iter=8)  # fmt: skip
    algorithm.it = it
    torch.manual_seed(5)
    out, _ = algorithm.train_step(**batch)
    assert (out["meta_gradient"] > 0).any()
    assert (out["weights"] == 1).all() == kept

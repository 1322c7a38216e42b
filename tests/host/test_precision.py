"""Mixed precision and memory format, for every algorithm through the host's path."""

import pytest
import torch

from metasemi_plugin import random_numbers
from metasemi_plugin.host.views import supported_algorithms


def first_step(algorithm, double=True):
    """Parameters after one step on the first batch."""
    if double:
        algorithm.model.double()
        algorithm.ema_model.double()
    algorithm.call_hook("before_run")
    random_numbers.seed_all(1)
    algorithm.epoch = 0
    algorithm.call_hook("before_train_epoch")
    batch = {}
    for name in ("train_lb", "train_ulb"):
        batch |= next(iter(algorithm.loader_dict[name]))
    batch = algorithm.process_batch(**batch)
    if double:
        batch = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
    algorithm.call_hook("after_train_step", "ParamUpdateHook")
    return batch, torch.cat([p.detach().flatten() for p in algorithm.model.parameters()])


def test_channels_last_reaches_net_and_images_and_changes_no_number(build):
    before = torch.cat([p.detach().flatten() for p in build().model.double().parameters()])
    results = []
    for setting, layout in (("auto", torch.channels_last), ("false", torch.contiguous_format)):
        algorithm = build(channels_last=setting, scheduler="constant")
        weight = algorithm.model.body[4].weight
        assert weight.is_contiguous(memory_format=layout)
        assert algorithm.ema_model.body[4].weight.is_contiguous(memory_format=layout)
        batch, params = first_step(algorithm)
        assert batch["x_ulb_w"].is_contiguous(memory_format=layout)
        results.append(params)
    assert (results[0] - before).abs().max() > 1e-3
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-13)


def test_channels_last_auto_is_off_without_convolutions(build, monkeypatch):
    import tiny

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.classifier = torch.nn.Linear(3 * 256, 10)

        def forward(self, x, **_):
            feat = x.flatten(1)
            return {"logits": self.classifier(feat), "feat": feat}

    monkeypatch.setattr(tiny, "net", lambda num_classes, **_: Flat())
    assert build().image_format is torch.contiguous_format
    assert build(channels_last="true").image_format is torch.channels_last


# In float16 the first steps of some are skipped until the loss scale fits.
CASES = [(name, "bfloat16") for name in supported_algorithms()] + [("metasemi", "float16")]


@pytest.mark.parametrize(("algorithm", "dtype"), CASES)
def test_mixed_precision_trains_every_algorithm(algorithm, dtype, build):
    params = {}
    for amp in (False, True):
        built = build(algorithm, amp=amp, amp_dtype=dtype, scheduler="constant")
        seen = []
        conv = [m for m in built.model.modules() if isinstance(m, torch.nn.Conv2d)][1]
        conv.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out.dtype))
        start = torch.cat([p.detach().flatten().clone() for p in built.model.parameters()])
        _, params[amp] = first_step(built, double=False)
        assert set(seen) == {getattr(torch, dtype) if amp else torch.float32}
        assert built.loss_scaler.is_enabled() == (amp and dtype == "float16")
    assert params[True].dtype == torch.float32
    move = params[False] - start
    assert move.abs().max() > 1e-3
    assert not torch.equal(params[True], params[False])
    # Low precision is noise on the same step. A weight that autocast remembers from a pass without
    # gradients or from the teacher would not move, or move elsewhere.
    assert torch.nn.functional.cosine_similarity(params[True] - start, move, dim=0) > 0.9

import pytest
import torch

from metasemi_plugin.bench.setting import Setting, build
from metasemi_plugin.errors import UserError

TINY = Setting("tiny:net", img_size=8, batch_size=3, ulb_batch_size=4)


def test_floor():
    assert Setting(batch_size=25, ulb_batch_size=75).floor == pytest.approx(575 / 375)
    assert Setting(batch_size=1, ulb_batch_size=0).floor == pytest.approx(8 / 6)


def test_the_same_weights_and_tensors_each_time():
    for setting in (TINY, TINY._replace(warmup_steps=2)):
        (model, batches), (twin, twin_batches) = build(setting), build(setting)
        assert all(torch.equal(a, b) for a, b in zip(batches, twin_batches, strict=True))
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
        )


def test_shapes():
    _, batches = build(TINY)
    assert [tuple(t.shape) for t in batches] == [(3, 3, 8, 8), (3, 10), (7, 3, 8, 8), (7, 10)]
    assert torch.allclose(batches.y_ulb.sum(1), torch.ones(7))


def test_warmup_steps_learn():
    def loss(steps):
        model, batches = build(Setting("tiny:net", img_size=8, warmup_steps=steps))
        logits = model(batches.x_ulb)["logits"]
        return -(batches.y_ulb * logits.log_softmax(1)).sum(1).mean().item()

    assert loss(40) < loss(0) - 0.3


def test_width_reaches_the_backbone():
    model, _ = build(Setting("cnn13", width=4, img_size=16, batch_size=2, ulb_batch_size=2))
    assert model.num_features == 4
    with pytest.raises(UserError, match="net_args"):
        build(TINY._replace(width=4))


def test_precision():
    x = torch.ones(2, 2)
    for dtype, expected in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with TINY._replace(dtype=dtype).precision():
            assert (x @ x).dtype is expected

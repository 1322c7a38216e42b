"""Whom MixUp mixes an image with, where there are several processes."""

from types import SimpleNamespace

import pytest
import torch


@pytest.mark.parametrize(
    ("name", "changes", "mixtures"),
    [
        ("metasemi", {}, 2),
        ("metasemi", {"consistency": "ict"}, 3),
        ("ict", {"ict_mix": "probs"}, 2),
        ("ict", {"ict_mix": "logits"}, 2),
        ("supervised_mixup", {}, 1),
    ],
)
def test_mixup_has_the_partners_that_are_asked_for(
    build, monkeypatch, first_batch, name, changes, mixtures
):
    """Those of the batch of all processes are sent, those of the rank are not."""
    sent = []

    def gathered(t, *lengths):
        sent.append(t)
        return torch.cat([t, t])

    several = SimpleNamespace(
        world_size=lambda: 2,
        all_gather=gathered,
        places=lambda *n, device=None: torch.arange(sum(n)),
    )
    monkeypatch.setattr("metasemi_plugin.mixup.collectives", several)
    for partners in ("rank", "batch"):
        algorithm = build(name, mixup_partners=partners, **changes)
        algorithm.call_hook("before_run")
        algorithm.train_step(**first_batch(algorithm))
        assert len(sent) == (2 * mixtures if partners == "batch" else 0)  # images and targets

"""The short version of ``make torture``; and that it would notice."""

import random

import pytest
import torch
import torture

from metasemi_plugin.run_folder import checkpoint, layout


def test_a_run_that_is_killed_comes_to_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(torture, "RUN", torture.RUN | {"num_train_iter": 36})
    result = torture.torture("metasemi", tmp_path, 4, 60.0, random.Random(1))
    assert result.kills == 4
    assert result.lost <= torture.INTERVAL
    assert result.different == ""
    # One bit of one weight
    path = tmp_path / "cut" / layout.BEST
    contents = checkpoint.verified(path)[1]
    weight = contents["model"]["classifier.weight"]
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    path.write_bytes(checkpoint.to_bytes(contents))
    where = torture.difference(tmp_path / "straight", tmp_path / "cut")
    assert where.startswith(layout.BEST)


def test_a_child_that_fails_is_no_kill(tmp_path):
    options = torture.RUN | {"save_dir": str(tmp_path), "save_name": "cut", "lr": -1}
    with pytest.raises(RuntimeError, match="lr: must be above 0"):
        torture.sitting(options)

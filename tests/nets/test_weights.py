import pytest
import torch

from metasemi_plugin.errors import UserError
from metasemi_plugin.nets.weights import evaluated

A, B = {"w": torch.zeros(2)}, {"w": torch.ones(2)}


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (A, 0.0),
        ({"model": A}, 0.0),
        ({"model": {"module.w": B["w"]}}, 1.0),
        ({"model": A, "ema_model": B, "it": 3}, 1.0),
        ({"state_dict": A, "state_dict_ema": B}, 1.0),
        ({"state_dict": B}, 1.0),
    ],
)
def test_the_weights_that_were_evaluated(saved, expected, tmp_path):
    torch.save(saved, tmp_path / "file")
    found = evaluated(str(tmp_path / "file"), "load_path")
    assert {key: t[0].item() for key, t in found.items()} == {"w": expected}


@pytest.mark.parametrize("saved", [{}, {"x": 1}, [A], {"model": 3}])
def test_what_holds_no_weights(saved, tmp_path):
    torch.save(saved, tmp_path / "file")
    with pytest.raises(UserError, match=r"load_path: .*file' holds no weights"):
        evaluated(str(tmp_path / "file"), "load_path")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"load_path: cannot read .*nothing': No such file"):
        evaluated(str(tmp_path / "nothing"), "load_path")
    (tmp_path / "file").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"load_path: .*file' is no checkpoint, or holds more"):
        evaluated(str(tmp_path / "file"), "load_path")

"""A complete run can be trained on, and comes to what one with that restart comes to."""

from pathlib import Path

import pytest
import torch
from torture import metrics, unequal

from metasemi_plugin import train
from metasemi_plugin.config.restarts import first_part, restarts
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder.layout import LATEST


def saved(folder):
    """What a run has come to, without times and places."""
    state = torch.load(Path(folder) / LATEST, weights_only=True)
    return {key: state[key] for key in ("model", "ema_model", "optimizer", "it", "random")}


# Schedules that hang on the length, a linear ramp and a sigmoid one, cycles, and one thing more
# that is a share of the training.
CASES = [
    ("metasemi", {"scheduler": "half_cosine", "num_warmup_iter": 1}),
    ("meanteacher", {"unsup_warm_up": 0.9, "scheduler": "cosine"}),
    ("ict", {"unsup_warm_up": 0.9, "scheduler": "cosine"}),
    ("fast_swa", {"swa_start": 0.5, "swa_horizon": 0.8, "swa_cycle": 0.5}),
    ("metasemi_mask_trial", {"mask_start": 0.9, "scheduler": "half_cosine"}),
]


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_extended_twice_is_the_run_with_two_restarts(algorithm, changes, tiny_run):
    options = tiny_run(algorithm, save_name="on", num_eval_iter=2, **changes)
    first = saved(train(**options)["folder"])
    for iterations in (10, 12):
        on = train(**options | {"resume": True, "extend": True, "num_train_iter": iterations})
    straight = train(**options | {"save_name": "straight", "lr_restarts": "6,10",
                                  "num_train_iter": 12})  # fmt: skip
    assert (on["iterations"], first["it"]) == (12, 6)
    assert unequal(first["model"], saved(on["folder"])["model"], "model")
    assert not unequal(saved(on["folder"]), saved(straight["folder"]), algorithm)


def test_with_a_constant_rate_it_is_as_if_begun_so(tiny_run):
    options = tiny_run(save_name="on", scheduler="constant")
    train(**options)
    on = train(**options | {"resume": True, "num_train_iter": 9})
    straight = train(**options | {"save_name": "straight", "num_train_iter": 9})
    assert not unequal(saved(on["folder"]), saved(straight["folder"]), "")
    folders = Path(on["folder"]), Path(straight["folder"])
    assert metrics(folders[0]) == metrics(folders[1])
    assert "lr_restarts: '6'" in (folders[0] / "config.yaml").read_text()


def test_its_own_config_goes_on_with_it(tiny_run, stop):
    options = tiny_run(save_name="on", num_save_iter=1)
    train(**options)
    longer = {"resume": True, "extend": True, "num_train_iter": 12}
    stop(8, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(**options | longer)
    stop(-1, None)
    config = f"{options['save_dir']}/on/config.yaml"
    on = train(config, resume=True)
    straight = train(**options | {"save_name": "s", "lr_restarts": "6", "num_train_iter": 12})
    assert not unequal(saved(on["folder"]), saved(straight["folder"]), "")
    assert train(**options | longer)["iterations"] == 12  # as the command was


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"extend": True, "save_name": "new"}, "--extend goes with --resume"),
        ({"resume": True, "num_train_iter": 9}, "had a schedule, .* iteration 6: add --extend"),
        ({"resume": True, "num_train_iter": 5, "extend": True}, "begun with num_train_iter 6"),
        ({"resume": True, "num_train_iter": 9, "extend": True, "lr": 0.2}, "begun with lr 0.1"),
    ],
)
def test_what_cannot_go_on_is_refused(given, said, tiny_run):
    options = tiny_run("supervised", save_name="on")
    before = saved(train(**options)["folder"])
    with pytest.raises(UserError, match=said):
        train(**options | given)
    assert not unequal(before, saved(f"{options['save_dir']}/on"), "")


def test_one_that_has_not_ended_is_resumed_first(tiny_run, stop):
    options = tiny_run("supervised", save_name="on", num_save_iter=1)
    stop(4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(**options)
    with pytest.raises(UserError, match="has not come to its end, iteration 6: resume it with"):
        train(**options | {"resume": True, "extend": True, "num_train_iter": 12})


def test_iterations_rise():
    assert restarts("") == []
    assert restarts("3, 10") == [3, 10]
    for wrong in ("0", "4,4", "5,3", "x", "1,,2"):
        with pytest.raises(ValueError, match=r"int|^[0-9]"):
            restarts(wrong)


def test_shares_are_of_the_first_part(build):
    algorithm = build("meanteacher", lr_restarts="2,4", unsup_warm_up=0.5)
    assert (algorithm.num_train_iter, first_part(algorithm.args)) == (2, 2)

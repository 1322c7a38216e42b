"""init_from: a run begins with the model of another one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import Tiny

from metasemi_plugin import train
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.initial_weights import start_from


@pytest.fixture
def first(tiny_run):
    return Path(train(**tiny_run("supervised", save_name="first"))["folder"])


@pytest.mark.parametrize("where", ["", "model"])
def test_it_begins_with_the_weights_that_were_evaluated(where, first, build, tiny_run):
    path = str(first / where)
    algorithm = build("meanteacher", init_from=path)
    fresh, found = build("meanteacher").model.state_dict(), algorithm.model.state_dict()
    weights = load_file(first / "model/model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert not torch.equal(fresh["body.0.weight"], weights["body.0.weight"])
    assert algorithm.begun_with == f"begins with the model {path} (supervised)"
    ema = algorithm.ema_model.state_dict()
    assert all(torch.equal(ema[key], weights[key]) for key in weights)


@pytest.mark.parametrize("count", [10, 4])
def test_other_classes_have_a_classifier_of_their_own(count, first, build):
    args = build("supervised", init_from=str(first)).args
    args.num_classes = count
    net = Tiny(count)
    fresh = {key: t.clone() for key, t in net.state_dict().items()}
    line = start_from(net, args, [f"class {i}" for i in range(count)])
    weights = load_file(first / "model/model.safetensors")
    for key, t in net.state_dict().items():
        kept = fresh if key.startswith("classifier") else weights
        assert torch.equal(t, kept[key]), key
    assert line.endswith("without its classifier, whose classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")


def test_a_resumed_run_begins_with_its_own(first, tiny_run, capsys):
    options = tiny_run("supervised", save_name="second", init_from=str(first))
    train(**options)
    assert "begins with the model" in capsys.readouterr().out
    train(**options, resume=True)
    assert "begins with the model" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"init_from": "{}/nowhere"}, "nowhere holds no model"),
        ({"init_from": "{}", "net": "cnn13_slim"}, "is of 'tiny:net', {}: set net and net_args so"),
        ({"init_from": "{}", "load_path": "x.pth"}, "load_path gives other weights"),
    ],
)
def test_a_model_that_cannot_be_begun_with_costs_no_run(given, said, first, tiny_run):
    options = tiny_run("supervised", save_name="second")
    changes = {key: value.format(first) for key, value in given.items()}
    with pytest.raises(UserError, match=said):
        train(**options | changes)
    assert not (first.parent / "second").exists()

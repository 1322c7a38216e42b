"""Algorithm and backbone of the pull request, imported from a skeleton tree, against ours."""

import importlib
import sys

import exported
import pytest
import semilearn.algorithms
import semilearn.nets
import torch
from semilearn.core.utils import ALGORITHMS


@pytest.fixture
def imported(tree, apply, monkeypatch, capsys):
    """(algorithm, builder of the backbone) as semilearn finds them in that tree."""
    apply()
    monkeypatch.setattr(ALGORITHMS, "_dict", {**ALGORITHMS._dict})
    del ALGORITHMS._dict["metasemi"]
    for package, name in (("algorithms", "metasemi"), ("nets", "cnn13")):
        parent = getattr(semilearn, package)
        monkeypatch.setattr(
            parent, "__path__", [*parent.__path__, str(tree / "semilearn" / package)]
        )
        monkeypatch.delattr(parent, name, raising=False)
        importlib.import_module(f"semilearn.{package}.{name}")
    yield ALGORITHMS["metasemi"], sys.modules["semilearn.nets.cnn13"].cnn13
    for name in list(sys.modules):
        if name.startswith(("semilearn.algorithms.metasemi", "semilearn.nets.cnn13")):
            del sys.modules[name]


def config(**changes):
    changes = {"algorithm": "metasemi", "net": "cnn13", "dataset": "none", "distributed": False,
               "mixup_beta": 0.3, **changes}  # fmt: skip
    return semilearn.get_config(changes)


def test_get_algorithm_finds_it(imported):
    algorithm, cnn13 = imported
    built = semilearn.get_algorithm(config(), cnn13, None, None)
    assert type(built) is algorithm
    assert algorithm.__module__ == "semilearn.algorithms.metasemi.metasemi"
    assert (built.mixup_beta, built.meta_gradient.__name__) == (0.3, "forward")
    assert [a.name for a in algorithm.get_argument()] == ["--mixup_beta", "--meta_gradient"]
    with pytest.raises(NotImplementedError, match="trains in one process"):
        semilearn.get_algorithm(config(distributed=True), cnn13, None, None)
    amp = semilearn.get_algorithm(config(amp=True), cnn13, None, None)
    assert amp.amp_cm.keywords == {"cache_enabled": False}


@pytest.mark.parametrize("method", ["forward", "unrolled"])
def test_it_trains_as_this_package_does_bit_for_bit(imported, method):
    from metasemi_plugin.algorithms import ALGORITHMS as OURS

    algorithm, _ = imported
    ALGORITHMS._dict["metasemi"] = OURS["metasemi"]  # whose options and views the run is made of
    ours = exported.states(OURS["metasemi"], meta_gradient=method)
    exported.compare(ours, exported.states(algorithm, meta_gradient=method))
    # and the comparison can fail
    with pytest.raises(AssertionError, match="differs after step 1"):
        exported.compare(ours, exported.states(algorithm, meta_gradient=method, mixup_beta=0.2))


def test_the_backbone_is_the_same(imported):
    from metasemi_plugin.nets.cnn13 import cnn13

    nets = []
    for builder in (cnn13, imported[1]):
        torch.manual_seed(0)
        nets.append(builder(num_classes=5, width=8).train())
    ours, theirs = nets
    x = torch.randn(2, 3, 32, 32)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    out = theirs(x)
    assert all(torch.equal(value, out[key]) for key, value in ours(x).items())
    assert ours.no_weight_decay() == theirs.no_weight_decay()
    assert ours.group_matcher() == theirs.group_matcher()

"""An algorithm that another package registers is held to its options and trains."""

import pytest
from semilearn.core.utils import ALGORITHMS
from toy import Toy

import metasemi_plugin
from metasemi_plugin.errors import UserError


@pytest.fixture
def toy():
    metasemi_plugin.register_algorithm("toy", Toy)
    yield "toy"
    del ALGORITHMS._dict["toy"]


def test_it_trains(tiny_run, toy):
    assert metasemi_plugin.train(**tiny_run(toy, save_name="run"))["iterations"] == 6


def test_its_options_have_bounds(build, toy):
    with pytest.raises(UserError, match="toy_weight"):
        build(toy, toy_weight=-1.0)

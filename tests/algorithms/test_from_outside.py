"""An algorithm that another package registers is held to its options and trains."""

import pytest
from semilearn.core import AlgorithmBase
from semilearn.core.utils import ALGORITHMS

import metasemi_plugin
from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.config.option import NOT_NEGATIVE, Option
from metasemi_plugin.errors import UserError


class Toy(AlgorithmBase):
    ulb_views = {"x_ulb_w": "weak"}

    def train_step(self, x_lb, y_lb, x_ulb_w):
        loss = self.ce_loss(self.model(x_lb)["logits"], y_lb, reduction="mean")
        return self.process_out_dict(loss=self.args.toy_weight * loss), {}

    @staticmethod
    def get_argument():
        return arguments([Option("toy_weight", float, 1.0, "of the loss", NOT_NEGATIVE)])


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

"""The least that an algorithm is: a weighted cross-entropy on labeled images."""

from semilearn.core import AlgorithmBase

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.config.option import NOT_NEGATIVE, Option

TOY = (Option("toy_weight", float, 1.0, "of the loss", NOT_NEGATIVE),)


class Toy(AlgorithmBase):
    ulb_views = {"x_ulb_w": "weak"}

    def train_step(self, x_lb, y_lb, x_ulb_w):
        loss = self.ce_loss(self.model(x_lb)["logits"], y_lb, reduction="mean")
        return self.process_out_dict(loss=self.args.toy_weight * loss), {}

    @staticmethod
    def get_argument():
        return arguments(TOY)

"""Three faults of semilearn, each mended by itself, with the test that shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.upstream.edits import Edit, edited
from metasemi_plugin.upstream.tree import is_clone


class Fix(NamedTuple):
    """Changes to their files, and a file of `fix_tests` that goes to tests/ of a clone."""

    edits: tuple[Edit, ...]
    test: str


_TRAINER = "semilearn/lighting/trainer.py"
_HOOK = '            self.algorithm.call_hook("{}")\n'

FIXES: Mapping[str, Fix] = {
    "meanteacher": Fix(
        (
            Edit(
                "semilearn/algorithms/meanteacher/meanteacher.py",
                "            logits_x_ulb_s = outs_x_ulb_w['logits']\n"
                "            feats_x_ulb_s = outs_x_ulb_w['feat']\n",
                "            logits_x_ulb_s = outs_x_ulb_s['logits']\n"
                "            feats_x_ulb_s = outs_x_ulb_s['feat']\n",
            ),
        ),
        "test_meanteacher.py",
    ),
    "trainer": Fix(
        (
            Edit(
                _TRAINER,
                "        self.algorithm.model.train()\n\n"
                "        # EMA Init\n"
                "        self.algorithm.ema = EMA(self.algorithm.model, self.algorithm.ema_m)\n"
                "        self.algorithm.ema.register()\n\n",
                "        self.algorithm.loader_dict = {\n"
                "            'train_lb': train_lb_loader,\n"
                "            'train_ulb': train_ulb_loader,\n"
                "            'eval': eval_loader\n"
                "        }\n"
                "        self.algorithm.model.train()\n\n",
                made="        self.algorithm.loader_dict = {\n",
            ),
            Edit(
                _TRAINER,
                "        self.algorithm.best_epoch = 0\n",
                "        self.algorithm.best_epoch = 0\n"
                '        self.algorithm.call_hook("before_run")\n',
            ),
            Edit(
                _TRAINER,
                "            for data_lb, data_ulb in zip(",
                _HOOK.format("before_train_epoch") + "\n            for data_lb, data_ulb in zip(",
            ),
            Edit(
                _TRAINER,
                "                result = self.algorithm.train_step("
                "**self.algorithm.process_batch(**data_lb, **data_ulb))\n",
                '                self.algorithm.call_hook("before_train_step")\n'
                "                self.algorithm.out_dict, self.algorithm.log_dict = "
                "self.algorithm.train_step("
                "**self.algorithm.process_batch(**data_lb, **data_ulb))\n"
                '                self.algorithm.call_hook("after_train_step")\n',
                made='                self.algorithm.call_hook("after_train_step")\n',
            ),
            Edit(
                _TRAINER,
                "            bar.finish()\n",
                "            bar.finish()\n" + _HOOK.format("after_train_epoch"),
                made=_HOOK.format("after_train_epoch"),
            ),
        ),
        "test_trainer.py",
    ),
    "yaml": Fix(
        (
            Edit(
                "semilearn/core/utils/misc.py",
                "import ruamel.yaml as yaml\n",
                "from ruamel.yaml import YAML\n",
            ),
            Edit(
                "semilearn/core/utils/misc.py",
                "        dic = yaml.load(f.read(), Loader=yaml.Loader)\n",
                "        # plain values only: a tag that would call Python is an error\n"
                "        dic = YAML(typ='safe', pure=True).load(f)\n",
            ),
        ),
        "test_config_file.py",
    ),
}


def fix(root: Path, name: str) -> dict[str, str]:
    """Path in their tree -> text with one fault mended; in a clone, the test of it, too.

    Raises:
        UserError: the tree is not one that this export knows.
    """
    chosen = FIXES[name]
    files = edited(root, chosen.edits)
    if is_clone(root):
        test = Path(__file__).with_name("fix_tests") / chosen.test
        files[f"tests/{chosen.test}"] = test.read_text(encoding="utf-8")
    return files

"""Every configuration resolves, and two of a kind differ in the algorithm alone."""

from pathlib import Path

import pytest
from semilearn.core.utils import ALGORITHMS

from metasemi_plugin.host.config import resolve

CONFIG = Path(__file__).parent.parent / "config"
RUNS = sorted(p for p in CONFIG.glob("*/*.yaml") if p.parent.name != "base")
# The host's own option for the weight of the unsupervised loss is the method's to set.
METHODS_OWN = {"algorithm", "ulb_loss_ratio", "save_name"}


@pytest.mark.parametrize("path", RUNS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_resolves_and_differs_in_the_algorithm_alone(path):
    args = vars(resolve(str(path), {}))
    assert args["algorithm"] == path.parent.name
    kind = path.name.replace("_ict.yaml", ".yaml")
    reference = vars(resolve(str(CONFIG / "metasemi" / kind), {}))
    own = METHODS_OWN | {
        argument.name.lstrip("-")
        for name in (args["algorithm"], "metasemi")
        for argument in ALGORITHMS[name].get_argument()
    }
    different = {k for k in args.keys() | reference.keys() if args.get(k) != reference.get(k)}
    assert different <= own


def test_the_same_three_exist_for_each_algorithm():
    folders = {path.parent for path in RUNS}
    assert {"metasemi", "supervised", "mixmatch", "meanteacher", "vat", "ict", "supervised_mixup",
            "learning_to_reweight"} <= {folder.name for folder in folders}  # fmt: skip
    for folder in folders:
        assert {"digits_40.yaml", "cifar10_250.yaml", "folder_example.yaml"} <= {
            path.name for path in folder.iterdir()
        }


@pytest.mark.parametrize("kind", ["digits_40", "folder_example"])
def test_ict_is_a_term_added_to_meta_semi(kind):
    plain, with_ict = (
        vars(resolve(str(CONFIG / "metasemi" / name), {}))
        for name in (f"{kind}.yaml", f"{kind}_ict.yaml")
    )
    different = {key for key in plain if plain[key] != with_ict[key]}
    assert different == {"consistency", "consistency_weight"}
    assert (with_ict["consistency"], with_ict["consistency_weight"]) == ("ict", 100)


def test_cifar10_250_is_table_2():
    args = resolve(str(CONFIG / "metasemi" / "cifar10_250.yaml"), {})
    assert (args.net, args.batch_size, args.uratio, args.num_labels) == ("wrn_28_2", 32, 3, 250)
    assert (args.optim, args.lr, args.weight_decay, args.ema_m) == ("AdamW", 0.002, 0.02, 0.999)
    # 2^16 images an evaluation, 2^26 in all (MixMatch: 2^20 batches of 64)
    assert args.num_eval_iter * args.batch_size == 2**16
    assert args.num_train_iter * args.batch_size == 2**26

"""Every configuration resolves, builds, and differs from its neighbors in the method alone."""

import argparse
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from semilearn.core.utils import ALGORITHMS

from metasemi_plugin.data.splits import Images, make_splits
from metasemi_plugin.host import on_device
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.datasets import Built
from metasemi_plugin.host.nets import net_builder
from metasemi_plugin.host.views import ulb_views

CONFIG = Path(__file__).parent.parent / "config"
RUNS = sorted(p for p in CONFIG.glob("*/*.yaml") if p.parent.name not in ("base", "suites"))
CELLS = sorted(path.stem for path in (CONFIG / "base").glob("*_*.yaml") if path.stem != "wrn_28_2")
# The host's own option for the weight of the unsupervised loss is the method's to set.
METHODS_OWN = {"algorithm", "ulb_loss_ratio", "sigmoid_ramp", "save_name"}
# Of a method's authors, where the paper has the method as they published it.
AUTHORS = {
    "vat": {"net_args"}, "pimodel": {"net_args"}, "meanteacher": {"net_args"}, "sntg": {"net_args"},
    "temporal_ensembling": {"net_args"}, "mixmatch_original": {"bn_statistics"},
    "fast_swa": {"net_args", "ema_m", "lr", "weight_decay"},
}  # fmt: skip

TABLE_1 = ["cifar10_1000_cnn13", "cifar10_2000_cnn13", "cifar10_4000_cnn13",
           "cifar100_4000_cnn13", "cifar100_10000_cnn13"]  # fmt: skip
TABLE_2 = ["cifar10_250", *(f"cifar10_{n}_wrn_28_2" for n in (500, 1000, 2000, 4000)),
           "cifar100_10000_wrn_28_2"]  # fmt: skip
TABLE_3 = ["stl10_1000_wrn_var_37_2"]
TABLE_4 = ["svhn_500_cnn13", "svhn_1000_cnn13"]
EVERYWHERE = ["digits_40", "folder_example", "cifar10_250"]
# To begin with, of Meta-Semi alone.
PRESETS = ["fashion_mnist_250", "folder_96"]
METHODS = {
    "metasemi": [*PRESETS, *TABLE_1, *TABLE_2, *TABLE_3, *TABLE_4],
    "supervised": TABLE_1,
    "supervised_mixup": TABLE_1,
    "pimodel": [*TABLE_1, *TABLE_4],
    "temporal_ensembling": [*TABLE_1, *TABLE_4],
    "meanteacher": [*TABLE_1, *TABLE_2, *TABLE_4],
    "vat": [*TABLE_1, *TABLE_2, *TABLE_4],
    "sntg": [*TABLE_1, *TABLE_4],
    "learning_to_reweight": TABLE_1,
    "fast_swa": TABLE_1,
    "ict": [*TABLE_1, *TABLE_4],
    "mixmatch": [*TABLE_2, *TABLE_3],
    "mixmatch_original": [*TABLE_2, *TABLE_3],
}
# Table 6: what it changes in Meta-Semi.
ABLATIONS = {
    "no_ema": {"teacher": "student", "ema_m": 0.0},
    "onehot": {"pseudo_label": "onehot"},
    "mixup_ulb": {"mixup_on": "unlabeled"},
    "mixup_lb": {"mixup_on": "labeled"},
    "no_mixup": {"mixup_on": "none"},
    "ones": {"weights": "ones"},
    "signed": {"weights": "signed"},
}


@functools.cache
def resolved(name: str) -> dict:
    return vars(resolve(str(CONFIG / f"{name}.yaml"), {}))


def differences(a: dict, b: dict) -> dict:
    """What b has and a has otherwise, but for the name of the run."""
    keys = a.keys() | b.keys()
    return {k: b.get(k) for k in keys - {"save_name"} if a.get(k) != b.get(k)}


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", RUNS, ids=name_of)
def test_resolves_and_differs_in_the_algorithm_alone(path):
    args = resolved(name_of(path))
    assert args["algorithm"] == path.parent.name
    (cell,) = (c for c in CELLS if path.stem == c or path.stem.startswith(f"{c}_"))
    own = (
        METHODS_OWN
        | AUTHORS.get(args["algorithm"], set())
        | {
            argument.name.lstrip("-")
            for name in (args["algorithm"], "metasemi")
            for argument in ALGORITHMS[name].get_argument()
        }
    )
    if path.stem.endswith("_no_ema"):
        own.add("ema_m")
    assert differences(resolved(f"metasemi/{cell}"), args).keys() <= own


def test_each_method_has_the_cells_of_its_tables():
    expected = {
        f"{method}/{cell}" for method, cells in METHODS.items() for cell in [*EVERYWHERE, *cells]
    }
    with_ict = ["digits_40", "folder_example", *TABLE_1, *TABLE_4]
    expected |= {f"metasemi/{cell}_ict" for cell in with_ict}
    expected |= {f"{beside}/folder_example" for beside in ("metasemi_mask_trial", "fixmatch")}
    table_6 = ["cifar100_4000_cnn13", "cifar100_10000_cnn13"]
    expected |= {f"metasemi/{cell}_{ablation}" for cell in table_6 for ablation in ABLATIONS}
    assert {name_of(path) for path in RUNS} == expected


def test_no_two_share_a_run_folder():
    names = [resolved(name_of(path))["save_name"] for path in RUNS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("cell", CELLS)
def test_the_name_of_a_cell_says_what_it_is(cell):
    args = resolved(f"metasemi/{cell}")
    if not cell.startswith("folder_"):
        dataset, labels, net = re.fullmatch(r"(\w+?)_(\d+)_?(\w*)", cell).groups()
        assert (dataset, int(labels)) == (args["dataset"], args["num_labels"])
        assert net in ("", args["net"])
    assert args["num_classes"] == (100 if args["dataset"] == "cifar100" else 10)


@pytest.mark.parametrize("cell", ["digits_40", "folder_example", *TABLE_1, *TABLE_4])
def test_ict_is_a_term_added_to_meta_semi(cell):
    changes = {"consistency": "ict", "consistency_weight": 100.0}
    if cell in TABLE_4:
        changes["ict_alpha"] = 0.1
        assert resolved(f"ict/{cell}")["ict_alpha"] == 0.1
    assert differences(resolved(f"metasemi/{cell}"), resolved(f"metasemi/{cell}_ict")) == changes


@pytest.mark.parametrize("labels", [4000, 10000])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_changes_one_thing(ablation, labels):
    cell = f"metasemi/cifar100_{labels}_cnn13"
    assert differences(resolved(cell), resolved(f"{cell}_{ablation}")) == ABLATIONS[ablation]


@pytest.mark.parametrize(
    ("cell", "train", "held_out"),
    [*((cell, 50_000, 5_000) for cell in TABLE_1), *((cell, 73_257, 1_000) for cell in TABLE_4)],
)
def test_cnn13_trains_600_epochs_as_in_appendix_d(cell, train, held_out):
    args = argparse.Namespace(**resolved(f"metasemi/{cell}"))
    assert (args.protocol, args.num_val, args.net) == ("paper", held_out, "cnn13")
    assert (args.batch_size, args.batch_size * args.uratio) == (25, 75)
    assert (args.optim, args.lr, args.momentum, args.nesterov) == ("SGD", 0.1, 0.9, True)
    assert (args.weight_decay, args.scheduler, args.ema_m) == (1e-4, "half_cosine", 0.999)
    # An epoch is a pass over the unlabeled images, the labeled ones included.
    assert args.include_lb_to_ulb
    assert args.num_eval_iter == (train - held_out) // 75
    assert args.num_train_iter == 600 * args.num_eval_iter


@pytest.mark.parametrize("cell", [*TABLE_2, *TABLE_3])
def test_wrn_trains_on_as_many_images_as_mixmatch(cell):
    args = argparse.Namespace(**resolved(f"metasemi/{cell}"))
    stl10 = cell in TABLE_3
    assert (args.protocol, args.num_val) == ("paper", 500 if stl10 else 5_000)
    net, size = ("wrn_var_37_2", 96) if stl10 else ("wrn_28_2", 32)
    assert (args.net, args.img_size, args.batch_size, args.uratio) == (net, size, 32, 3)
    assert (args.optim, args.lr, args.weight_decay) == ("AdamW", 0.002, 0.02)
    assert (args.scheduler, args.ema_m) == ("constant", 0.999)
    # 2^16 images an evaluation, 2^26 in all (MixMatch: 2^20 batches of 64)
    assert args.num_eval_iter * args.batch_size == 2**16
    assert args.num_train_iter * args.batch_size == 2**26


@pytest.mark.parametrize("method", ["mixmatch", "mixmatch_original"])
def test_mixmatch_has_its_authors_settings_where_the_paper_has_a_number(method):
    weights = {"cifar10": 75, "cifar100": 150, "stl10": 50}
    for cell in [*TABLE_2[1:], *TABLE_3]:
        args = argparse.Namespace(**resolved(f"{method}/{cell}"))
        assert (args.mixup_alpha, args.T) == (0.75, 0.5)
        assert args.ulb_loss_ratio == weights[args.dataset]
        # The weight rises over the first 2^20 images.
        assert args.unsup_warm_up * args.num_train_iter * args.batch_size == 2**20


def fake_splits(args):
    """Two images a class to train on and one to evaluate on, as the data set has them."""
    targets = np.arange(3 * args.num_classes) % args.num_classes
    size = args.img_size
    pixels = np.zeros((len(targets), size, size, args.channels), dtype=np.uint8)
    few = argparse.Namespace(**vars(args) | {"num_labels": args.num_classes, "num_val": 0})
    train, test = (
        Images(pixels[part], targets[part])
        for part in (slice(2 * args.num_classes), slice(2 * args.num_classes, None))
    )
    names = [str(k) for k in range(args.num_classes)]
    views = {key: kind.replace("strong", "weak") for key, kind in ulb_views(args).items()}
    splits = make_splits(few, views, train=train, test=test, class_names=names, flip=False)
    parts = ("train_lb", "train_ulb", "eval", "test")
    return Built({p: getattr(splits, p) for p in parts}, splits.chosen_on, names)


def kinds():
    """One configuration for each algorithm and net."""
    found = {}
    for path in RUNS:
        args = argparse.Namespace(**resolved(name_of(path)) | {"device": "cpu", "num_workers": 0})
        found.setdefault((args.algorithm, args.net), (path, args))
    return found.values()


def test_each_algorithm_is_built_with_each_of_its_nets(monkeypatch):
    monkeypatch.setattr(on_device, "build_splits", fake_splits)
    optimizers = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}
    for path, args in kinds():
        built = on_device.on_device(args.algorithm)(args, net_builder(args))
        assert isinstance(built, ALGORITHMS[args.algorithm]), path
        assert type(built.optimizer) is optimizers[args.optim]
        keys = {"train_lb": {"idx_lb", "x_lb", "y_lb"}, "train_ulb": {"idx_ulb", *ulb_views(args)}}
        for part, expected in keys.items():
            batch = built.dataset_dict[part].read([0, 1], torch.Generator())
            assert batch.keys() == expected, path


@pytest.mark.parametrize("cell", [*TABLE_1, *TABLE_4])
def test_methods_of_2017_have_their_authors_noise_and_dropout(cell):
    nets = {
        "pimodel": {"dropout": 0.5, "noise": 0.15}, "meanteacher": {"dropout": 0.5, "noise": 0.15},
        "temporal_ensembling": {"dropout": 0.5, "noise": 0.15}, "vat": {"dropout": 0.5},
        "sntg": {"dropout": 0.5, "noise": 0.15}, "ict": {}, "metasemi": {},
    }  # fmt: skip
    for method, net_args in nets.items():
        args = argparse.Namespace(**resolved(f"{method}/{cell}"))
        assert args.net_args == net_args
        assert args.ema_warmup
    vat = argparse.Namespace(**resolved(f"vat/{cell}"))
    eps = 3.5 if cell in TABLE_4 else 8
    assert (vat.ulb_loss_ratio, vat.vat_eps, vat.ent_loss_ratio) == (1, eps, 0)

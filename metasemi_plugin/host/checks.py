"""What no run can have, found before any data are touched."""

import argparse

import torch
from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher
from semilearn.core.utils import ALGORITHMS

from metasemi_plugin.config.names import no_dataset
from metasemi_plugin.config.resolve import MOST, Problems
from metasemi_plugin.data import GRAY, medmnist, mnist
from metasemi_plugin.data.image_folder import wrong_num_classes
from metasemi_plugin.data.long_tail import class_sizes
from metasemi_plugin.data.split import indivisible, multiples
from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.datasets import HOST_DATASETS, dataset_names
from metasemi_plugin.host.device import resolve_device
from metasemi_plugin.host.nets import check_name
from metasemi_plugin.host.teacher import clean_teacher
from metasemi_plugin.host.views import HOST_VIEWS, no_strong_views


def impossible(v: dict) -> Problems:
    """(key, what is wrong with it) for values that no run can have here."""
    if v["dataset"] not in dataset_names():
        yield "dataset", no_dataset(v["dataset"], dataset_names())
    yield from _contradictions(v)
    yield from _several_processes(v)
    yield from _not_found(v)


def _has_linear_ramp(name: str) -> bool:
    """Whether ``unsup_warm_up``, where the algorithm has it, is semilearn's."""
    return name in HOST_VIEWS or issubclass(ALGORITHMS[name], MeanTeacher)


def _contradictions(v: dict) -> Problems:
    algorithm = ALGORITHMS[v["algorithm"]]
    if v["bn_statistics"] == "teacher" and not clean_teacher(algorithm, argparse.Namespace(**v)):
        yield (
            "bn_statistics",
            f"{v['algorithm']} makes no passes of the averaged net over unlabeled images: use "
            "precise, or auto",
        )
    if v["sigmoid_ramp"] and not (_has_linear_ramp(v["algorithm"]) and "unsup_warm_up" in v):
        yield "sigmoid_ramp", f"{v['algorithm']} has no linear ramp to replace: leave it out"
    yield from _impossible_channels(v)
    classes, labels = v["num_classes"], v["num_labels"]
    known = {name: dataset.num_classes for name, dataset in HOST_DATASETS.items()}
    known |= {"digits": 10, **{name: kind.num_classes for name, kind in mnist.KINDS.items()}}
    known |= {name: len(kind.classes) for name, kind in medmnist.KINDS.items()}
    has = known.get(v["dataset"], classes)
    if classes != has:
        yield "num_classes", f"{v['dataset']} has {has}; set it so"
    elif v["dataset"] == "image_folder" and (wrong := wrong_num_classes(v["data_dir"], classes)):
        yield "num_classes", wrong
    elif classes >= 1 and all(1 <= n <= MOST for n in (labels, v["ulb_num_labels"] or 1)):
        yield from _impossible_sizes(v)


def _impossible_channels(v: dict) -> Problems:
    rgb = v["dataset"] in HOST_DATASETS or v["dataset"] in medmnist.KINDS
    has = (1, 3) if v["dataset"] in GRAY else (3,) if rgb else None
    if has and v["channels"] not in has:
        yield "channels", f"images of {v['dataset']} have {' or '.join(map(str, has))}: set it so"
    elif what := no_strong_views(argparse.Namespace(**v)):
        yield "channels", what


def _impossible_sizes(v: dict) -> Problems:
    """Of the classes; see data/long_tail.py."""
    ratios = [key for key in ("lb_imb_ratio", "ulb_imb_ratio") if v[key] != 1]
    for key in ratios:
        if v[key] in (-1, 0):
            yield key, f"must be 1 (all classes alike), above, or below -1 (reversed), not {v[key]}"
            return
    given = [*ratios, *(["ulb_num_labels"] if v["ulb_num_labels"] is not None else [])]
    if v["algorithm"] == "fullysupervised":
        yield from ((key, "fullysupervised takes all images as they are") for key in given)
        return
    if v["labels"] != "equal":
        yield from ((key, "labels says which images are labeled: leave it out") for key in given)
        return
    if v["dataset"] == "stl10":
        yield from (
            (key, "STL-10 has its own labeled images and others of unknown class")
            for key in given
            if key != "lb_imb_ratio" or v["protocol"] == "paper"
        )
    if "ulb_imb_ratio" in ratios and v["ulb_num_labels"] is None:
        yield "ulb_imb_ratio", "set ulb_num_labels as well, how many images of the largest class"
    for number, ratio in (("num_labels", "lb_imb_ratio"), ("ulb_num_labels", "ulb_imb_ratio")):
        count, classes = v[number], v["num_classes"]
        if count is not None and v[ratio] == 1 and count % classes:
            every = number == "num_labels" and v["dataset"] == "image_folder"
            yield number, indivisible(count, classes) + (", or set labels to all" if every else "")
    if not all(class_sizes(v["num_labels"], v["num_classes"], v["lb_imb_ratio"])):
        yield (
            "lb_imb_ratio",
            f"with num_labels {v['num_labels']}, those of the largest class, the smallest has none",
        )


def _several_processes(v: dict) -> Problems:
    count = collectives.world_size()
    if count == 1:
        yield from _to_be_started(v)
        return
    if (size := v["batch_size"]) % count:
        use = multiples(size, count)
        yield "batch_size", f"{size} cannot be split evenly over {count} processes: use {use}"
    if v.get("meta_gradient") == "unrolled":
        yield "meta_gradient", "unrolled takes one process; forward, as exact, takes several"


def _to_be_started(v: dict) -> Problems:
    """By this process; see host/launch.py."""
    if not v["multiprocessing_distributed"]:
        if v["world_size"] > 1:
            yield "world_size", "set multiprocessing_distributed as well, or start with torchrun"
    elif torch.cuda.is_available() and v["device"] != "cpu":
        if v["world_size"] > 1:
            yield (
                "world_size",
                "multiprocessing_distributed starts the processes of one machine: for several, "
                "leave it out and start torchrun on each",
            )
    elif v["world_size"] == 1:
        yield (
            "world_size",
            "multiprocessing_distributed starts one process for each GPU: without one, say how "
            "many with world_size",
        )


def _not_found(v: dict) -> Problems:
    for key, check in (("device", resolve_device), ("net", check_name)):
        try:
            check(v[key])
        except UserError as error:
            yield key, str(error).removeprefix(f"{key}: ")

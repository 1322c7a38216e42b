"""What no run can have, found before any data are touched."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher
from semilearn.core.utils import ALGORITHMS

from metasemi_plugin.config.values import unknown
from metasemi_plugin.data import mnist
from metasemi_plugin.data.image_folder import RESIZES, wrong_num_classes
from metasemi_plugin.data.long_tail import class_sizes
from metasemi_plugin.data.split import indivisible, multiples
from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.datasets import HOST_DATASETS, PROTOCOLS, dataset_names
from metasemi_plugin.host.defaults import host_defaults
from metasemi_plugin.host.device import resolve_device
from metasemi_plugin.host.nets import check_name
from metasemi_plugin.host.on_device import AMP_DTYPES, CHANNELS_LAST
from metasemi_plugin.host.optim import OPTIMIZERS, SCHEDULERS
from metasemi_plugin.host.teacher import STATISTICS, clean_teacher
from metasemi_plugin.host.views import HOST_VIEWS
from metasemi_plugin.mixup import PARTNERS

FLOAT32 = torch.finfo(torch.float32).max
MOST = 2**63 - 1
AT_LEAST_1 = (
    "num_train_iter", "num_eval_iter", "num_log_iter", "epoch", "batch_size", "uratio",
    "eval_batch_size", "num_labels", "ulb_num_labels", "num_classes", "img_size", "max_bad_steps",
    "num_save_iter", "bn_batches",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed", "num_workers", "weight_decay", "clip_grad", "num_val", "label_folds", "label_fold",
    "num_warmup_iter", "ulb_loss_ratio",
)  # fmt: skip
ABOVE_ZERO = ("lr", "save_minutes")
BELOW_1 = ("ema_m", "momentum")  # and not negative
SHARES = ("crop_ratio", "bn_momentum", "layer_decay")  # above 0, at most 1
CHOICES = {
    "protocol": PROTOCOLS,
    "optim": OPTIMIZERS,
    "scheduler": SCHEDULERS,
    "amp_dtype": tuple(AMP_DTYPES),
    "channels_last": CHANNELS_LAST,
    "mixup_partners": PARTNERS,
    "bn_statistics": STATISTICS,
    "resize": RESIZES,
}
# The same of the options of semilearn's algorithms.
HOST_ABOVE_ZERO = ("T", "mixup_alpha", "vat_eps", "n_sigma")
HOST_BELOW_1 = ("ema_p",)
HOST_CHOICES = {"tsa_schedule": ("none", "linear", "log", "exp")}
# Options of the host that nothing reads here, and why they may not be set to anything else.
NOT_HERE = {
    "train_sampler": "seed and iteration choose the images of a batch",
    "net_from_name": "set net to timm/NAME",
    "imb_algorithm": "imbalanced algorithms are not supported here",
    "gpu": "set device to cuda:N",
    "rank": "torchrun counts the processes",
    "dist_url": "torchrun tells the processes where to meet",
    "dist_backend": "NCCL between GPUs and gloo between CPUs are chosen by themselves",
    "max_length": "text is not supported here",
    "max_length_seconds": "sound is not supported here",
    "sample_rate": "sound is not supported here",
}


def impossible(v: dict) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) for values that no run can have."""
    algorithm = ALGORITHMS[v["algorithm"]]
    host = v["algorithm"] in HOST_VIEWS
    above_zero = [*ABOVE_ZERO, *getattr(algorithm, "above_zero", ()), *HOST_ABOVE_ZERO * host]
    if _has_linear_ramp(v["algorithm"]):  # divides by it
        above_zero.append("unsup_warm_up")
    below_1 = [*BELOW_1, *HOST_BELOW_1 * host]
    choices = {
        **CHOICES,
        "dataset": dataset_names(),
        **(HOST_CHOICES if host else getattr(algorithm, "choices", {})),
    }
    given = {key: value for key, value in v.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, float) and not abs(value) <= FLOAT32:
            yield key, f"must be finite in single precision, not {value}"
        elif isinstance(value, int) and abs(value) > MOST:
            yield key, f"must be at most {MOST}"
        elif key in AT_LEAST_1 and value < 1:
            yield key, f"must be at least 1, not {value}"
        elif key in above_zero and value <= 0:
            yield key, f"must be above 0, not {value}"
        elif key in (*NOT_NEGATIVE, *getattr(algorithm, "not_negative", ())) and value < 0:
            yield key, f"must not be below 0, not {value}"
        elif key in below_1 and not 0 <= value < 1:
            yield key, f"must be in [0, 1), not {value}"
        elif key in SHARES and not 0 < value <= 1:
            yield key, f"must be above 0 and at most 1, not {value}"
        elif key in choices and value not in choices[key]:
            yield key, unknown(value, choices[key])
    yield from _contradictions(v)
    yield from _several_processes(v)
    yield from _not_here(v)
    yield from _not_found(v)


def _has_linear_ramp(name: str) -> bool:
    """Whether ``unsup_warm_up``, where the algorithm has it, is semilearn's."""
    return name in HOST_VIEWS or issubclass(ALGORITHMS[name], MeanTeacher)


def _contradictions(v: dict) -> Iterator[tuple[str, str]]:
    if v["epoch"] > v["num_train_iter"] >= 1:
        yield "epoch", f"{v['epoch']} epochs do not fit into num_train_iter {v['num_train_iter']}"
    if v["num_warmup_iter"] >= v["num_train_iter"] >= 1:
        yield "num_warmup_iter", f"must be less than num_train_iter {v['num_train_iter']}"
    if v["seed"] >= 2**32:
        yield "seed", f"must be less than {2**32}, not {v['seed']}"
    if 0 < v["label_folds"] <= v["label_fold"] or v["label_folds"] == 1:
        yield "label_folds", "must be 0 (none), or at least 2 and more than label_fold"
    algorithm = ALGORITHMS[v["algorithm"]]
    if v["bn_statistics"] == "teacher" and not clean_teacher(algorithm, argparse.Namespace(**v)):
        yield (
            "bn_statistics",
            f"{v['algorithm']} makes no passes of the averaged net over unlabelled images: use "
            "precise, or auto",
        )
    if v["sigmoid_ramp"] and not (_has_linear_ramp(v["algorithm"]) and "unsup_warm_up" in v):
        yield "sigmoid_ramp", f"{v['algorithm']} has no linear ramp to replace: leave it out"
    classes, labels = v["num_classes"], v["num_labels"]
    known = {name: dataset.num_classes for name, dataset in HOST_DATASETS.items()}
    known |= {"digits": 10, **{name: kind.num_classes for name, kind in mnist.KINDS.items()}}
    has = known.get(v["dataset"], classes)
    if classes != has:
        yield "num_classes", f"{v['dataset']} has {has}; set it so"
    elif v["dataset"] == "image_folder" and (wrong := wrong_num_classes(v["data_dir"], classes)):
        yield "num_classes", wrong
    elif classes >= 1 and all(1 <= n <= MOST for n in (labels, v["ulb_num_labels"] or 1)):
        yield from _impossible_sizes(v)


def _impossible_sizes(v: dict) -> Iterator[tuple[str, str]]:
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
    if v["dataset"] == "stl10":
        yield from (
            (key, "STL-10 has its own labelled images and others of unknown class")
            for key in given
            if key != "lb_imb_ratio" or v["protocol"] == "paper"
        )
    if "ulb_imb_ratio" in ratios and v["ulb_num_labels"] is None:
        yield "ulb_imb_ratio", "set ulb_num_labels as well, how many images of the largest class"
    for number, ratio in (("num_labels", "lb_imb_ratio"), ("ulb_num_labels", "ulb_imb_ratio")):
        count, classes = v[number], v["num_classes"]
        if count is not None and v[ratio] == 1 and count % classes:
            yield number, indivisible(count, classes)
    if not all(class_sizes(v["num_labels"], v["num_classes"], v["lb_imb_ratio"])):
        yield (
            "lb_imb_ratio",
            f"with num_labels {v['num_labels']}, those of the largest class, the smallest has none",
        )


def _several_processes(v: dict) -> Iterator[tuple[str, str]]:
    count = collectives.world_size()
    if count == 1:
        yield from _to_be_started(v)
        return
    if (size := v["batch_size"]) % count:
        use = multiples(size, count)
        yield "batch_size", f"{size} cannot be split evenly over {count} processes: use {use}"
    if v.get("meta_gradient") == "unrolled":
        yield "meta_gradient", "unrolled takes one process; forward, as exact, takes several"


def _to_be_started(v: dict) -> Iterator[tuple[str, str]]:
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


def _not_here(v: dict) -> Iterator[tuple[str, str]]:
    defaults = dict(host_defaults(v["algorithm"]))
    yield from ((key, why) for key, why in NOT_HERE.items() if v[key] != defaults[key])
    name = v["save_name"]
    if name is not None and not _is_folder_name(name):
        yield "save_name", f"must be one folder name, not {name!r}; see save_dir"


def _is_folder_name(name: str) -> bool:
    one = Path(name).name == name and name not in ("", "..")
    return one and "\0" not in name and len(name.encode(errors="replace")) <= 200


def _not_found(v: dict) -> Iterator[tuple[str, str]]:
    for key, check in (("device", resolve_device), ("net", check_name)):
        try:
            check(v[key])
        except UserError as error:
            yield key, str(error).removeprefix(f"{key}: ")
    for key in ("save_dir", "data_dir"):
        if "\0" in v[key]:
            yield key, "must not have a NUL character in it"

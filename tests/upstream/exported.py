"""Does the Meta-Semi of the pull request train as this package's? Helpers of the tests that ask it
here; and, as a script with a tree that has it and tests/ in PYTHONPATH, of that tree.
"""

import contextlib
import io
import itertools
import tempfile
from pathlib import Path

import torch

STEPS = 5
OPTIONS = {
    "algorithm": "metasemi", "dataset": "digits", "num_classes": 10, "num_labels": 40,
    "img_size": 16, "net": "tiny:net", "net_args": {"dropout": 0.5}, "batch_size": 6, "uratio": 3,
    "eval_batch_size": 360, "num_train_iter": STEPS, "num_eval_iter": STEPS, "lr": 0.1,
    "ema_m": 0.9, "device": "cpu", "use_tensorboard": False, "seed": 3,
}  # fmt: skip


def states(algorithm: type, **changes) -> list[dict[str, torch.Tensor]]:
    """All parameters, buffers and averages after each step of a run of an algorithm's class."""
    from semilearn.core.hooks import Hook

    from metasemi_plugin import random_numbers
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import OnDevice

    class Record(Hook):
        def after_train_step(self, run):
            kept_there = run.log_dict.get("train/util_ratio")
            share = run.log_dict["train/kept"] if kept_there is None else kept_there
            state = {**run.model.state_dict(), "kept": torch.tensor(share)}
            state |= {f"ema.{name}": value for name, value in run.ema.shadow.items()}
            kept.append({name: value.detach().clone() for name, value in state.items()})

    kept: list[dict[str, torch.Tensor]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        args = resolve(None, {**OPTIONS, **changes, "save_dir": folder})
        Path(folder, args.save_name).mkdir()
        vars(args).setdefault("amp", False)  # which 1ef4cbe's get_config calls use_amp
        random_numbers.seed_all(args.seed)
        run = type("Run", (OnDevice, algorithm), {"clean_teacher": True})(args, net_builder(args))
        run.register_hook(Record(), priority="LOWEST")
        run.train()
    return kept


def compare(ours: list[dict], theirs: list[dict]) -> None:
    """Bit for bit, after it is shown that there is something to compare."""
    assert len(ours) == len(theirs) == STEPS
    assert any(0 < state["kept"] < 1 for state in ours), "the mask never decides anything"
    for before, after in itertools.pairwise(ours):
        assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert torch.equal(value, b[name]), f"{name} differs after step {step}"


def main() -> None:
    import old_timm  # noqa: F401
    import semilearn
    import semilearn.nets
    from semilearn import get_algorithm, get_config, get_net_builder
    from semilearn.core.utils import ALGORITHMS

    torch.set_num_threads(1)
    print("semilearn from", semilearn.__path__[0])
    config = get_config({"algorithm": "metasemi", "net": "cnn13", "dataset": "none", "amp": False,
                         "distributed": False})  # fmt: skip
    built = get_algorithm(config, get_net_builder(config.net, from_name=False), None, None)
    exported = type(built)
    print("get_algorithm gives", exported, "with", type(built.model))

    # This package refuses names that are taken.
    del ALGORITHMS._dict["metasemi"], semilearn.nets.cnn13
    import metasemi_plugin

    metasemi_plugin.register()
    for method in ("forward", "unrolled"):
        for net in ({}, {"net": "wrn_28_2", "net_args": {}}):
            changes = {"meta_gradient": method, **net}
            compare(states(ALGORITHMS["metasemi"], **changes), states(exported, **changes))
            print(f"{STEPS} steps are equal bit for bit: {changes}")


if __name__ == "__main__":
    main()

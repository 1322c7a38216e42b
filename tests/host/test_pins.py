"""What host/ relies on in semilearn 0.3.2. A failure here says what the host has changed."""

import inspect
from importlib.metadata import version

import pytest
import semilearn
from semilearn.core import AlgorithmBase, hooks
from semilearn.core.utils import ALGORITHMS, build, misc
from semilearn.datasets.cv_datasets.datasetbase import BasicDataset

from metasemi_plugin.host.views import HOST_VIEWS


def test_version():
    assert version("semilearn") == "0.3.2", "re-read HOST pins in this file before raising it"


@pytest.mark.parametrize(
    "method",
    ["set_dataset", "set_data_loader", "set_model", "set_ema_model", "set_optimizer", "set_hooks",
     "process_batch", "evaluate", "get_save_dict", "save_model", "load_model"],
)  # fmt: skip
def test_methods_that_are_overridden_exist(method):
    assert callable(getattr(AlgorithmBase, method, None)), f"AlgorithmBase.{method} is gone"


def test_order_of_construction():
    source = inspect.getsource(AlgorithmBase.__init__)
    order = ["self.set_dataset()", "self.set_data_loader()", "self.set_model()",
             "self.set_ema_model()", "self.set_optimizer()", "self.set_hooks()"]  # fmt: skip
    places = [source.index(call) for call in order]
    assert places == sorted(places), "AlgorithmBase.__init__ builds its parts in another order"


def test_hooks_that_are_replaced_have_these_names(build):
    names = list(build("supervised").hooks_dict)
    wanted = ["ParamUpdateHook", "EMAHook", "EvaluationHook", "CheckpointHook", "TimerHook"]
    places = [names.index(name) for name in wanted]
    assert places == sorted(places), "the host runs its hooks in another order"
    assert "LoggingHook" in names
    assert names[-1] == "RestoreRandomHook", "random numbers must be restored last"


def test_views_of_the_hosts_own_dataset():
    """HOST_VIEWS says what BasicDataset returns under each algorithm's name."""
    import numpy as np

    image = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    for name, views in HOST_VIEWS.items():
        dataset = BasicDataset(
            name, image, [0], 10, lambda im: "weak", True, lambda im: _Strong(), False
        )
        if name == "remixmatch":  # rotates a tensor: keys are read off the source
            source = inspect.getsource(BasicDataset.__getitem__)
            assert all(f"'{key}'" in source for key in views), "remixmatch's views have changed"
            continue
        sample = dataset[0]
        kinds = {k: "strong" if isinstance(v, _Strong) else v for k, v in sample.items()}
        kinds.pop("idx_ulb")
        assert kinds == views, f"BasicDataset gives {name} other views"


class _Strong:
    pass


def test_builders_find_a_name_set_on_the_nets_module():
    assert "getattr(nets, net_name)" in inspect.getsource(build.get_net_builder)


def test_loader_takes_a_sampler_and_a_generator():
    parameters = inspect.signature(semilearn.get_data_loader).parameters
    assert {"data_sampler", "generator", "num_workers", "drop_last"} <= set(parameters)


def test_ema_api():
    assert {"load", "register", "update", "apply_shadow", "restore"} <= set(vars(misc.EMA))
    assert "algorithm.resume" in inspect.getsource(hooks.EMAHook.before_run)


def test_arguments_are_declared_by_get_argument():
    for name in HOST_VIEWS:
        for argument in ALGORITHMS[name].get_argument():
            assert argument.name.startswith("--")
            assert callable(argument.type)

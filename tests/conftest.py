import pytest
import torch
from tiny import TINY_RUN

from metasemi_plugin.config.algorithms import ALGORITHMS


@pytest.fixture(scope="session", autouse=True)
def _registered():
    import metasemi_plugin

    metasemi_plugin.register()


@pytest.fixture(autouse=True)
def _one_thread():
    # Tiny nets are faster on one thread, and sums have one order.
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _declared():
    """An algorithm that a test registers is declared with it, and gone after it."""
    before = dict(ALGORITHMS)
    yield
    ALGORITHMS.clear()
    ALGORITHMS.update(before)


@pytest.fixture
def tiny_run(tmp_path):
    """options(algorithm, **changes) of a run of seconds whose folder is under tmp_path."""

    def options(algorithm="metasemi", **changes):
        return {**TINY_RUN, "save_dir": str(tmp_path), "algorithm": algorithm, **changes}

    return options


@pytest.fixture
def build(tiny_run):
    """build(algorithm, **changes): the algorithm on the digits, set up as for its first step."""
    from metasemi_plugin import random_numbers
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device

    def build(algorithm="metasemi", **changes):
        args = resolve(None, tiny_run(algorithm, **changes))
        random_numbers.seed_all(args.seed)
        built = on_device(algorithm)(args, net_builder(args))
        built.print_fn = lambda *_: None
        return built

    return build

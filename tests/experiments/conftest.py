from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

from metasemi_plugin import train
from metasemi_plugin.experiments.plan import STARTS, log_of
from metasemi_plugin.experiments.suite import Run, load_suite


@pytest.fixture
def suite(tmp_path, tiny_run):
    """suite(algorithms, **how): one column of tiny runs; how goes to load_suite."""

    def suite(algorithms=("supervised", "metasemi"), seeds=(0,), **overrides):
        rows = {}
        for algorithm in algorithms:
            path = tmp_path / f"{algorithm}.yaml"
            options = tiny_run(algorithm)
            for given in ("save_dir", "seed"):
                del options[given]
            YAML().dump(options, path)
            rows[algorithm] = path.name
        YAML().dump({"columns": {"tiny": rows}}, tmp_path / "suite.yaml")
        overrides = {"save_dir": str(tmp_path / "runs")} | overrides
        return load_suite(tmp_path / "suite.yaml", seeds, overrides)

    return suite


class Ended(NamedTuple):
    log: object

    def ended(self):
        return True


class Inside:
    """An executor that makes a run at once in this process; remembers the steps."""

    stays_in_queue = False

    def __init__(self):
        self.steps: list[tuple[str, str]] = []

    def start(self, run: Run, step: str):
        self.steps.append((run.args.save_name, step))
        try:
            train(str(run.config), **run.options, **STARTS[step])
        except Exception as error:
            run.folder.parent.mkdir(exist_ok=True)
            log_of(run.folder).write_text(f"error: {error}\n")
        return Ended(log_of(run.folder))


@pytest.fixture
def inside():
    return Inside()


@pytest.fixture
def stop(monkeypatch):
    """stop(it, error): runs end with that error as they begin iteration ``it``."""
    from metasemi_plugin.host.hooks import Hook
    from metasemi_plugin.host.on_device import OnDevice

    original = OnDevice.set_hooks

    def stop(it, error, algorithm_name=None):
        class Stop(Hook):
            def before_train_step(self, algorithm):
                name = algorithm.args.algorithm
                if algorithm.it == it and algorithm_name in (None, name):
                    raise error

        def with_stop(self):
            original(self)
            self.register_hook(Stop(), "Stop", "LOWEST")

        monkeypatch.setattr(OnDevice, "set_hooks", with_stop)

    return stop

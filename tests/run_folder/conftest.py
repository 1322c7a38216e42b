import pytest
from semilearn.core.hooks import Hook

from metasemi_plugin.host.on_device import OnDevice


@pytest.fixture
def stop(monkeypatch):
    """stop(it, error): runs end with that error as they begin iteration ``it``."""
    original = OnDevice.set_hooks

    def stop(it, error):
        class Stop(Hook):
            def before_train_step(self, algorithm):
                if algorithm.it == it:
                    raise error

        def with_stop(self):
            original(self)
            self.register_hook(Stop(), "Stop", "LOWEST")

        monkeypatch.setattr(OnDevice, "set_hooks", with_stop)

    yield stop
    monkeypatch.undo()

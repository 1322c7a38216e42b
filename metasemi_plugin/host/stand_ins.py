"""What semilearn imports and a run of images does not use, or not yet: imported once it is called.

They are most of the time that ``import semilearn`` takes (aim, wandb, transformers, timm and
scikit-learn, more than torch). semilearn takes functions and classes from them by name, which
`importlib.util.LazyLoader` cannot put off, and only ever calls them.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGES = ("aim", "wandb", "transformers", "torchaudio", "timm", "sklearn", "skimage")


class Later:
    """A function or class of a module that is imported when this is called or looked into."""

    def __init__(self, module: str, name: str):
        self._where = module, name

    def __call__(self, *args, **kwargs):
        return self._found()(*args, **kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):  # as inspect and typing ask for, of anything
            raise AttributeError(name)
        return getattr(self._found(), name)

    def _found(self):
        module, name = self._where
        return getattr(importlib.import_module(module), name)


class StandIn(ModuleType):
    """A module whose names are all there, for later."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Later(self.__name__, name)


class _StandIns(MetaPathFinder, Loader):
    def __init__(self, packages: tuple[str, ...]):
        self.packages = packages

    def find_spec(self, fullname, path, target=None):
        ours = fullname.partition(".")[0] in self.packages
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


@contextmanager
def standing_in() -> Iterator[None]:
    """A block in which imports of PACKAGES, but of those that are there already, cost nothing."""
    finder = _StandIns(tuple(name for name in PACKAGES if name not in sys.modules))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
            del sys.modules[name]

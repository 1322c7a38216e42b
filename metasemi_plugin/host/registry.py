"""What semilearn finds by name, and what is added to it. The public functions are the package's."""

from collections.abc import Callable

from semilearn import nets as host_nets
from semilearn.core import AlgorithmBase
from semilearn.core.utils import ALGORITHMS as HOST_ALGORITHMS

from metasemi_plugin.algorithms import ALGORITHMS
from metasemi_plugin.data import DATASETS
from metasemi_plugin.host.datasets import HOST_DATASETS
from metasemi_plugin.nets import BACKBONES


def register() -> None:
    for name, algorithm in ALGORITHMS.items():
        register_algorithm(name, algorithm)
    for name, builder in BACKBONES.items():
        register_backbone(name, builder)


def register_algorithm(name: str, algorithm: type) -> None:
    if name not in HOST_ALGORITHMS:
        HOST_ALGORITHMS[name] = algorithm
    elif HOST_ALGORITHMS[name] is not algorithm:
        raise ValueError(f"algorithm {name!r} is already registered as {HOST_ALGORITHMS[name]}")


def register_backbone(name: str, builder: Callable) -> None:
    if getattr(host_nets, name, builder) is not builder:
        raise ValueError(f"backbone {name!r} is already registered as {getattr(host_nets, name)}")
    setattr(host_nets, name, builder)


def register_dataset(name: str, build: Callable) -> None:
    known = DATASETS.get(name, build)
    if name in HOST_DATASETS or not (known is build or _of_the_script(known, build)):
        raise ValueError(f"data set {name!r} is already registered")
    DATASETS[name] = build


def _of_the_script(known: Callable, build: Callable) -> bool:
    """Whether `known` is `build`, of a script that `net: SCRIPT:FUNCTION` imports once more."""
    code = getattr(build, "__code__", None)
    return known.__module__ == "__main__" and getattr(known, "__code__", build) == code


def algorithm_class(name: str) -> type[AlgorithmBase]:
    """The registered algorithm of that name."""
    return HOST_ALGORITHMS[name]


def backbone(name: str) -> Callable:
    """The registered builder of that name."""
    return getattr(host_nets, name)

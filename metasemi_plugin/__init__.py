"""Meta-Semi (Wang et al.) as a plug-in for Microsoft's USB benchmark (semilearn).

Importing this package does nothing; :func:`register` adds what it holds to the host.
"""

from collections.abc import Callable

__version__ = "0.1.0"
__all__ = [
    "compare",
    "load",
    "register",
    "register_algorithm",
    "register_backbone",
    "register_dataset",
    "train",
]


def register() -> None:
    """Add this package's algorithms and backbones to semilearn. Calling it again changes nothing.

    Raises:
        ValueError: a name is taken by something else.
        ImportError: semilearn or a part of it cannot be imported.
    """
    from metasemi_plugin.host import registry

    registry.register()


def register_algorithm(name: str, algorithm: type) -> None:
    """Make ``get_algorithm`` and the option ``algorithm`` find a subclass of ``AlgorithmBase``.

    It declares the views of an unlabeled image it wants, as ``ulb_views = {"x_ulb_w": "weak"}`` or
    as a static method that makes such a dict of the run's arguments; and its options, as
    ``get_argument``: `metasemi_plugin.algorithms.arguments.arguments` makes it of `Option`s, which
    say what they may be.

    Raises:
        ValueError: the name is taken by another class.
    """
    from metasemi_plugin.host import registry

    registry.register_algorithm(name, algorithm)


def register_backbone(name: str, builder: Callable) -> None:
    """Make ``get_net_builder`` and the option ``net`` find a builder of backbones.

    It is called as ``builder(num_classes=..., pretrained=..., pretrained_path=...)``.

    Raises:
        ValueError: the name is taken by another builder.
    """
    from metasemi_plugin.host import registry

    registry.register_backbone(name, builder)


def register_dataset(name: str, build: Callable) -> None:
    """Make the option ``dataset`` find ``build(args, ulb_views) -> Splits``; see data/digits.py.

    Raises:
        ValueError: the name is taken by another data set.
    """
    from metasemi_plugin.host import registry

    registry.register_dataset(name, build)


def train(config: str | None = None, **options) -> dict:
    """Train one run, as ``train.py --c config --option value`` does, and return its summary.

    Processes that torchrun has started train it together, each calling this.

    Args:
        config: path of a YAML file.
        **options: any option of a run; they win over the file.

    Raises:
        UserError: bad input; one line that names the thing and the remedy.
    """
    register()
    from metasemi_plugin.host.launch import train

    return train(config, options)


def compare(what, seeds=None, jobs: int = 1, **options) -> list:
    """Make the runs that are missing of a suite, and return the records of all its runs.

    Args:
        what: a file of config/suites, or a list of configurations to set side by side.
        seeds: of each row; None: the suite's own, or 0, 1 and 2.
        jobs: runs at a time.
        **options: see `metasemi_plugin.experiments.compare.compare`; options of runs hold for all.

    Raises:
        UserError: bad input; a line for each thing, with its name and the remedy.
    """
    from metasemi_plugin.experiments.compare import compare

    return compare(what, seeds, jobs, **options)


def load(path, device="cpu"):
    """The model that a training left in its folder, to be used: see `model.predictor.Predictor`.

    Args:
        path: a run folder, or its folder ``model/`` by itself.
        device: of torch.

    Raises:
        UserError: there is no model, or it cannot be used; one line that says why.
    """
    from metasemi_plugin.model.predictor import load

    return load(path, device)

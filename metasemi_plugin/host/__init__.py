"""The one room that knows semilearn's internals: device, data streams, hooks, config, runner.

By composition and public hooks only; tests/host/test_pins.py holds what is relied on.
"""

import warnings


def import_semilearn() -> None:
    """Import the host without the warnings its dependencies give about each other."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Importing from timm.models.layers", FutureWarning)
        warnings.filterwarnings("ignore", r"The ``declarative_base\(\)`` function")
        import semilearn  # noqa: F401

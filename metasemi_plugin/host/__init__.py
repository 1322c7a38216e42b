"""The one room that knows semilearn: device, data streams, hooks, configuration, runner.

By composition and public hooks only; tests/host/test_pins.py holds what is relied on.
"""

import warnings

from metasemi_plugin.host.stand_ins import standing_in

with warnings.catch_warnings(), standing_in():
    # What its dependencies say of each other, where they have been imported before.
    warnings.filterwarnings("ignore", "Importing from timm.models.layers", FutureWarning)
    warnings.filterwarnings("ignore", r"The ``declarative_base\(\)`` function")
    import semilearn  # noqa: F401

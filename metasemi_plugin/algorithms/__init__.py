"""The algorithms this package adds to the host: one paper, one page.

Imported by :func:`metasemi_plugin.register` alone, because it imports the host.
"""

from metasemi_plugin.algorithms.metasemi import MetaSemi

ALGORITHMS = {"metasemi": MetaSemi}

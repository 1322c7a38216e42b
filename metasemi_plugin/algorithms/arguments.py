"""Options of an algorithm as semilearn wants them of ``get_argument``."""

from collections.abc import Sequence

from semilearn.algorithms.utils import SSL_Argument, str2bool

from metasemi_plugin.config.option import Option


class Argument(SSL_Argument):
    """An option, with what it may be: ``allowed``, see `Option`."""

    def __init__(self, option: Option):
        kind = str2bool if option.type is bool else option.type
        super().__init__(f"--{option.name}", kind, option.default, option.help)
        self.allowed = option.allowed


def arguments(options: Sequence[Option]) -> list[SSL_Argument]:
    """What ``get_argument`` returns of an algorithm with these options."""
    return [Argument(option) for option in options]

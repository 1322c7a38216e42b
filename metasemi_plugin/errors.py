class UserError(Exception):
    """Bad input: one clear line that names the thing and the remedy."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and was saved; says how to go on."""

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


class UserError(Exception):
    """Bad input: one clear line that names the thing and the remedy."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and was saved; says how to go on."""

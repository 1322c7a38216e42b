class UserError(Exception):
    """Bad input: one clear line that names the thing and the remedy."""

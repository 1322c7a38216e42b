"""Moved: see `metasemi_plugin.forward_mode`."""

from metasemi_plugin.forward_mode import sample_losses, sweep

__all__ = ["sample_losses", "sweep"]

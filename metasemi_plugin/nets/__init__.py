"""Backbones of this package, by the name that the option ``net`` gives them."""

from collections.abc import Callable

from metasemi_plugin.nets.cnn13 import cnn13, cnn13_slim

__all__ = ["BACKBONES"]

BACKBONES: dict[str, Callable] = {"cnn13": cnn13, "cnn13_slim": cnn13_slim}

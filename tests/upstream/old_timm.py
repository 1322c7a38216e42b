"""A stand-in for a module that timm 1.0 has dropped and that 1ef4cbe imports; a pytest plug-in."""

import sys
import types

helpers = types.ModuleType("timm.models.layers.helpers")
helpers.to_2tuple = lambda x: tuple(x) if isinstance(x, (tuple, list)) else (x, x)
sys.modules[helpers.__name__] = helpers

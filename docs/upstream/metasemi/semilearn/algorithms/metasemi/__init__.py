# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

import sys

import torch

# The registry reports an ImportError and goes on with the other algorithms.
if sys.version_info < (3, 10) or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 4):
    raise ImportError("metasemi needs Python >= 3.10 and torch >= 2.4")

from .metasemi import MetaSemi

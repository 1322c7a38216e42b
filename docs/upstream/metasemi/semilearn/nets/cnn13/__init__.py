# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

from .cnn13 import cnn13

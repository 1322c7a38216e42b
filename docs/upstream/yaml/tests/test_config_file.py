# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

from argparse import Namespace

import pytest
from ruamel.yaml.constructor import ConstructorError
from semilearn.core.utils import over_write_args_from_file


def test_values_of_a_file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "algorithm: fixmatch\nlr: 0.03\nweight_decay: 5e-4\nseed: 0\namp: False\ngpu: None\n"
    )
    args = Namespace(seed=1)
    over_write_args_from_file(args, str(file))
    assert vars(args) == {
        "algorithm": "fixmatch",
        "lr": 0.03,
        "weight_decay": 5e-4,
        "seed": 0,
        "amp": False,
        "gpu": "None",
    }


def test_a_file_cannot_call_python(tmp_path):
    file, trace = tmp_path / "config.yaml", tmp_path / "trace"
    file.write_text(f"seed: !!python/object/apply:os.mkdir ['{trace}']\n")
    with pytest.raises(ConstructorError):
        over_write_args_from_file(Namespace(), str(file))
    assert not trace.exists()

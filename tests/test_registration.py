import multiprocessing
import subprocess
import sys

import pytest
from semilearn.core.utils import ALGORITHMS, get_net_builder

import metasemi_plugin
from metasemi_plugin.algorithms.variants import AnyWeights
from metasemi_plugin.nets import cnn13


def test_importing_the_package_does_nothing():
    code = (
        "import sys, metasemi_plugin; "
        "sys.exit(any(m.partition('.')[0] in ('semilearn', 'torch', 'timm') for m in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_host_finds_what_is_registered():
    assert ALGORITHMS["metasemi"] is AnyWeights
    assert get_net_builder("cnn13", from_name=False) is cnn13
    assert get_net_builder("cnn13_slim", from_name=False)(num_classes=3).num_features == 32


def test_registering_again_changes_nothing(capsys):
    before = dict(ALGORITHMS._dict)
    metasemi_plugin.register()
    assert before == ALGORITHMS._dict
    assert capsys.readouterr().out == ""  # the host prints when a key is overwritten


def test_a_taken_name_is_an_error():
    with pytest.raises(ValueError, match="'metasemi' is already registered"):
        metasemi_plugin.register_algorithm("metasemi", type("Other", (), {}))
    with pytest.raises(ValueError, match="'wrn_28_2' is already registered"):
        metasemi_plugin.register_backbone("wrn_28_2", lambda **_: None)
    with pytest.raises(ValueError, match="'digits' is already registered"):
        metasemi_plugin.register_dataset("digits", lambda args, views: None)
    with pytest.raises(ValueError, match="'cifar10' is already registered"):
        metasemi_plugin.register_dataset("cifar10", lambda args, views: None)
    assert ALGORITHMS["metasemi"] is AnyWeights


def test_a_run_can_name_a_registered_dataset(build):
    from metasemi_plugin.data import DATASETS, digits

    metasemi_plugin.register_dataset("my_digits", digits.build)
    try:
        assert len(build(dataset="my_digits").dataset_dict["train_lb"]) == 40
    finally:
        del DATASETS["my_digits"]


SCRIPT = """
import metasemi_plugin
def build(args, views): ...
def net(**_): ...
metasemi_plugin.register_dataset("mine", build)
if __name__ == "__main__":
    import script
    assert script.net is not net
"""


def test_a_script_whose_net_is_imported_registers_its_data_set_again(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, tmp_path / "script.py"], check=True)
    other = SCRIPT.replace("    import script", "    metasemi_plugin.register_dataset('mine', net)")
    (tmp_path / "script.py").write_text(other)
    failed = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True)
    assert b"'mine' is already registered" in failed.stderr


def _names_in_a_worker(_):
    metasemi_plugin.register()
    return "metasemi" in ALGORITHMS


def test_works_in_a_spawned_worker():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_names_in_a_worker, [0]) == [True]


def test_an_import_error_comes_through():
    code = (
        "import sys; sys.modules['semilearn'] = None; "
        "import metasemi_plugin; metasemi_plugin.register()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert "ModuleNotFoundError" in result.stderr

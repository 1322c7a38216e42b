"""What is imported when, counted in processes of their own."""

import json
import subprocess
import sys

import pytest

from metasemi_plugin.host import stand_ins
from metasemi_plugin.host.stand_ins import PACKAGES, Later, standing_in


def modules_after(code):
    """Top-level packages that are there after the code, in a new process."""
    code += (
        "\nimport json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_registering_imports_no_more_of_what_semilearn_imports_than_torch_has():
    found = modules_after("import metasemi_plugin; metasemi_plugin.register()")
    assert {"semilearn", "torch", "torchvision"} <= found
    assert found & {*PACKAGES, "pandas", "matplotlib"} == set()


def test_a_later_import_is_the_real_one(monkeypatch):
    monkeypatch.setattr(stand_ins, "PACKAGES", ("colorsys_not_there", "wave"))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with standing_in():
        import wave

        from colorsys_not_there.deep import anything
    assert isinstance(wave.open, Later)
    assert "wave" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="colorsys_not_there"):
        anything()
    with pytest.raises(FileNotFoundError):  # of the module itself
        wave.open("gone.wav").close()
    import wave as real

    assert wave.Error.mro() == real.Error.mro()


def test_the_rest_of_what_is_there_already_is_real(monkeypatch):
    monkeypatch.setattr(stand_ins, "PACKAGES", ("json",))
    monkeypatch.delitem(sys.modules, "json.tool", raising=False)
    with standing_in():
        from json.tool import main
    assert not isinstance(main, Later)

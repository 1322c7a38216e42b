import logging

import numpy as np
import pytest

from metasemi_plugin.data.cache import cached_array


@pytest.fixture
def make():
    """Makes another array at each call, and counts the calls."""

    def make():
        make.calls += 1
        return np.full((2, 3), make.calls, dtype=np.uint8)

    make.calls = 0
    return make


def test_made_once(tmp_path, make):
    file = tmp_path / "cache" / "a.npz"
    first, second = cached_array(file, "x", make), cached_array(file, "x", make)
    assert make.calls == 1
    np.testing.assert_array_equal(first, second)
    assert second.dtype == np.uint8
    assert [path.name for path in file.parent.iterdir()] == ["a.npz"]


def test_made_anew_for_another_fingerprint(tmp_path, make):
    file = tmp_path / "a.npz"
    cached_array(file, "x", make)
    assert cached_array(file, "y", make)[0, 0] == 2
    assert cached_array(file, "y", make)[0, 0] == 2


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_replaced(tmp_path, make, damage, caplog):
    file = tmp_path / "a.npz"
    cached_array(file, "x", make)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no array", "empty": b""}[damage])
    assert cached_array(file, "x", make)[0, 0] == 2
    assert cached_array(file, "x", make)[0, 0] == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_pickled_objects_are_not_loaded(tmp_path, make, caplog):
    file = tmp_path / "a.npz"
    np.savez(file, fingerprint=np.array("x"), array=np.array([{}], dtype=object))
    assert cached_array(file, "x", make)[0, 0] == 1
    assert len(caplog.records) == 1


def test_a_place_that_cannot_be_written_costs_one_warning(tmp_path, make, caplog):
    (tmp_path / "cache").touch()  # a file where the folder should be
    array = cached_array(tmp_path / "cache" / "a.npz", "x", make)
    assert array[0, 0] == 1
    (record,) = [record for record in caplog.records if "cannot store" in record.message]
    assert record.levelno == logging.WARNING
    assert "\n" not in record.message


def test_nothing_is_left_behind_when_writing_fails(tmp_path, make, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert cached_array(tmp_path / "a.npz", "x", make)[0, 0] == 1
    assert list(tmp_path.iterdir()) == []
    assert "no space left" in caplog.text

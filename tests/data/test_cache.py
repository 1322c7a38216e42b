import logging
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from metasemi_plugin.data import cache
from metasemi_plugin.data.cache import HEADER, cached_images
from metasemi_plugin.errors import UserError

SHAPE = (3, 2, 2, 3)


@pytest.fixture
def fill():
    """Fills in another number at each call, and counts the calls."""

    def fill(images):
        fill.calls += 1
        images[:] = fill.calls
        return {"call": [fill.calls, 0.5]}

    fill.calls = 0
    return fill


@pytest.fixture(params=["read", "mapped"])
def memory(request, monkeypatch):
    """Of a machine for which the images are few, or too many."""
    size = np.prod(SHAPE) * (4 if request.param == "read" else 4 - 1e-9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=size))
    return request.param


def test_made_once(tmp_path, fill, memory):
    file = tmp_path / "cache" / "a.bin"
    for _ in range(2):
        images, found = cached_images(file, "x", SHAPE, fill)
        np.testing.assert_array_equal(images, np.ones(SHAPE))
        assert (images.dtype, found) == (np.uint8, {"call": [1, 0.5]})
        assert isinstance(images, np.memmap) == (memory == "mapped")
    assert fill.calls == 1
    assert [path.name for path in file.parent.iterdir()] == ["a.bin"]


def test_a_file_is_a_header_and_the_pixels(tmp_path, fill, memory):
    shape = (1200, 32, 32, 3)
    images, _ = cached_images(tmp_path / "a.bin", "x", shape, fill)
    images = images.copy()
    content = (tmp_path / "a.bin").read_bytes()
    assert len(content) == HEADER + 1200 * 32 * 32 * 3
    assert content[HEADER:] == images.tobytes()


def test_made_anew_for_another_fingerprint(tmp_path, fill, memory):
    file = tmp_path / "a.bin"
    cached_images(file, "x", SHAPE, fill)
    for _ in range(2):
        images, found = cached_images(file, "y", SHAPE, fill)
        assert (images[0, 0, 0, 0], found["call"][0]) == (2, 2)


def test_made_anew_for_other_files_without_a_warning(tmp_path, fill, memory, caplog):
    cached_images(tmp_path / "a.bin", "x", (1, 2, 2, 3), fill)
    assert cached_images(tmp_path / "a.bin", "y", SHAPE, fill)[0].shape == SHAPE
    assert not caplog.records


@pytest.mark.parametrize("damage", ["cut", "text", "list", "empty"])
def test_a_damaged_file_is_replaced(tmp_path, fill, memory, damage, caplog):
    file = tmp_path / "a.bin"
    cached_images(file, "x", SHAPE, fill)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-1], "text": b"none", "list": b"[1]", "empty": b""}[damage])
    for _ in range(2):
        assert cached_images(file, "x", SHAPE, fill)[0][0, 0, 0, 0] == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_place_that_cannot_be_written_costs_one_warning(tmp_path, fill, caplog):
    (tmp_path / "cache").touch()  # a file where the folder should be
    images, found = cached_images(tmp_path / "cache" / "a.bin", "x", SHAPE, fill)
    assert (images[0, 0, 0, 0], found["call"][0]) == (1, 1)
    (record,) = [record for record in caplog.records if "cannot store" in record.message]
    assert record.levelno == logging.WARNING
    assert "\n" not in record.message


def test_too_many_for_the_memory_and_no_place_to_store_them(tmp_path, fill, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=4))
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match=r"0\.0 GiB .*too many .*cache.*lower img_size"):
        cached_images(tmp_path / "cache" / "a.bin", "x", SHAPE, fill)
    assert fill.calls == 0


def test_nothing_is_left_behind_when_the_disk_is_full(tmp_path, fill, monkeypatch, caplog, memory):
    monkeypatch.setattr(cache, "open", open_but_full, raising=False)
    if memory == "mapped":
        with pytest.raises(UserError, match="No space left"):
            cached_images(tmp_path / "a.bin", "x", SHAPE, fill)
        assert fill.calls == 0
    else:
        assert cached_images(tmp_path / "a.bin", "x", SHAPE, fill)[0][0, 0, 0, 0] == 1
        assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []


def open_but_full(path, mode):
    return open("/dev/full" if path.name.endswith(".tmp") else path, mode)

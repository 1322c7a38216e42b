"""Image files of any content are decoded, or named in one line."""

import io
import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from metasemi_plugin.data.cache import cached_images
from metasemi_plugin.data.class_folders import find_images
from metasemi_plugin.data.decode import decode_files
from metasemi_plugin.data.torchvision_files import one_error
from metasemi_plugin.errors import UserError


def encoded(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def decoded(files, size):
    images = np.zeros((len(files), size, size, 3), dtype=np.uint8)
    return images, decode_files([str(file) for file in files], images)


WHOLE = {kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")}
changes = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8)


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=st.sampled_from(sorted(WHOLE)), changes=changes, length=st.floats(0, 1))
def test_changed_bytes_are_decoded_or_named(tmp_path, kind, changes, length):
    content = bytearray(WHOLE[kind])
    for place, value in changes:
        content[place % len(content)] = value
    if not changes:
        content = content[: int(length * len(content))]
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(content)
    try:
        decoded([file], 4)
    except UserError as error:
        message = str(error)
    else:
        return
    assert str(file) in message
    assert "\n" not in message


@pytest.mark.parametrize("bits", ["RGB", "RGBA"])
def test_colors_of_16_bits(tmp_path, bits):
    """Pillow cannot write them; so a PNG by hand, of one gray level a channel."""
    import struct
    import zlib

    levels = [50, 100, 150, 255][: len(bits)]
    row = b"\0" + struct.pack(f">{len(levels)}H", *(257 * level for level in levels)) * 4

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 4, 4, 16, {"RGB": 2, "RGBA": 6}[bits], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 4)), (b"IEND", b"")]
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    images, found = decoded([file], 4)
    np.testing.assert_array_equal(images[0], np.broadcast_to(levels[:3], (4, 4, 3)))
    assert found.cut == 1


def test_a_pipe_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png \(not a regular file\)"):
        decoded([tmp_path / "pipe.png"], 4)


def test_a_link_to_itself_is_named(tmp_path):
    os.symlink(tmp_path / "a.png", tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png .*symbolic links"):
        decoded([tmp_path / "a.png"], 4)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_class_that_links_back_is_named(tmp_path, add_images, target):
    add_images("data/train/a", 1)
    os.symlink(target, tmp_path / "data/train/b")
    with pytest.raises(UserError, match=r"train/b is a link back to a folder that it is in"):
        find_images(tmp_path / "data")


def test_classes_with_odd_names(tmp_path, add_images):
    names = ["a b", " ", "été", "猫", "🐈", "<b>x", "a'\"&b", "-x", "$x", "%s"]
    for name in names:
        add_images(f"train/{name}", 1)
    classes, parts, _ = find_images(tmp_path)
    assert classes == sorted(names)
    assert len(parts["train"]) == len(names)
    decoded([file for file, _ in parts["train"]], 4)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_processes_make_one_cache(tmp_path):
    """Both begin before either has finished; both get the whole array, and so does a third."""
    here = multiprocessing.get_context("fork")
    both_make = here.Barrier(2, timeout=60)

    numbers = np.arange(300_000) % 251

    def fill(images):
        both_make.wait()
        images[:] = numbers
        return {}

    def use():
        images, _ = cached_images(tmp_path / "cache" / "a.bin", "x", numbers.shape, fill)
        sys.exit(int((images != numbers).any()))

    assert exit_codes_of_two(here, use) == [0, 0]
    images, _ = cached_images(
        tmp_path / "cache" / "a.bin", "x", numbers.shape, lambda _: pytest.fail("made again")
    )
    np.testing.assert_array_equal(images, numbers)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a.bin"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_processes_do_not_unpack_one_archive_at_once(tmp_path):
    here = multiprocessing.get_context("fork")
    inside = here.Value("i", 0)

    def unpack():
        with one_error(tmp_path / "cifar10"):
            inside.value += 1
            alone = inside.value == 1
            time.sleep(0.1)
            inside.value -= 1
        sys.exit(not alone)

    assert exit_codes_of_two(here, unpack) == [0, 0]


def exit_codes_of_two(context, function):
    """Of two processes that call the function at the same time."""
    both = [context.Process(target=function) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    return [process.exitcode for process in both]

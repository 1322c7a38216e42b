import os
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms

from metasemi_plugin.data import decode as module
from metasemi_plugin.data.decode import ENDINGS, decode, decode_files
from metasemi_plugin.errors import UserError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    file = save(tmp_path / "a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(decode(file, 9), pixels)


@pytest.mark.parametrize("landscape", [True, False])
def test_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path, landscape):
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :8], pixels[:, 8:32], pixels[:, 32:] = RED, GREEN, BLUE
    if not landscape:
        pixels = pixels.swapaxes(0, 1)
    file = save(tmp_path / "a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(decode(file, 5), np.full((5, 5, 3), GREEN))


def test_large_images_are_averaged_not_sampled(tmp_path):
    checkered = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    file = save(tmp_path / "a.png", Image.fromarray(checkered))
    assert abs(decode(file, 8).astype(int) - 127).max() < 4


def palette(**info):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([*BLUE, *RED])
    image.info |= info
    return image


def lab(color):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = Image.new("RGB", (4, 4), color)
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("gray.png", Image.new("L", (4, 4), 77), (77, 77, 77)),
        ("gray.JPEG", Image.new("L", (4, 4), 77), (77, 77, 77)),
        ("black_and_white.bmp", Image.new("1", (4, 4), 1), (255, 255, 255)),
        ("palette.png", palette(), RED),
        ("palette.gif", palette(), RED),
        ("half_transparent.png", palette(transparency=b"\x00\x80"), (255, 127, 127)),
        ("opaque.webp", Image.new("RGBA", (4, 4), (*GREEN, 255)), GREEN),
        ("gray_alpha.png", Image.new("LA", (4, 4), (55, 51)), (215, 215, 215)),
        ("cmyk.jpg", Image.new("CMYK", (4, 4), (0, 255, 255, 0)), RED),
        ("cmyk.tif", Image.new("CMYK", (4, 4), (255, 255, 0, 0)), BLUE),
        ("ycbcr.tif", Image.new("YCbCr", (4, 4), (76, 85, 255)), RED),
        ("lab.tif", lab(RED), (251, 5, 4)),
    ],
)
def test_every_mode_of_8_bits_becomes_the_rgb_that_it_stands_for(tmp_path, name, image, expected):
    options = {"lossless": True} if name.endswith("webp") else {}
    decoded = decode(save(tmp_path / name, image, **options), 4)
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded, np.broadcast_to(expected, (4, 4, 3)), atol=2)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (200, 255), (255, 0)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_drawing_in_the_alpha_channel_is_seen(tmp_path, mode, ink, paper):
    drawn = np.random.default_rng(0).integers(0, 2, (5, 5, 1), dtype=bool)
    channels = len(mode) - 1
    pixels = np.concatenate([np.full((5, 5, channels), ink), drawn * 255], axis=2).astype(np.uint8)
    file = save(tmp_path / "a.png", Image.fromarray(pixels, mode))
    np.testing.assert_array_equal(decode(file, 5), np.where(drawn, ink, [paper] * 3))


def test_a_color_that_stands_for_transparent(tmp_path):
    image = Image.new("RGB", (4, 4), RED)
    image.putpixel((0, 0), BLUE)
    decoded = decode(save(tmp_path / "a.png", image, transparency=RED), 4)
    np.testing.assert_array_equal(decoded[0, :2], [BLUE, (255, 255, 255)])


RAMP = np.arange(64 * 64).reshape(64, 64)  # 12 bits


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("12_of_16_bits.png", RAMP.astype(np.uint16)),
        ("12_of_16_bits.tif", RAMP.astype(np.uint16)),
        ("12_of_16_bits.pgm", RAMP.astype(np.uint16)),
        ("signed.tif", (RAMP - 1000).astype(np.int32)),
        ("float.tif", (RAMP / 1024 - 7).astype(np.float32)),
    ],
)
def test_more_than_8_bits_are_scaled_by_their_own_range(tmp_path, name, values):
    decoded = decode(save(tmp_path / name, Image.fromarray(values)), 64)
    expected = np.repeat(RAMP[..., None] * (255 / 4095), 3, axis=2)
    np.testing.assert_allclose(decoded, expected, atol=0.51)


def test_8_of_16_bits_big_endian(tmp_path):
    values = np.array([[3, 250], [3, 3]], dtype=">u2")
    image = Image.frombytes("I;16B", (2, 2), values.tobytes())
    decoded = decode(save(tmp_path / "a.tif", image), 2)
    np.testing.assert_array_equal(decoded[..., 0], [[0, 255], [0, 0]])


def test_values_outside_of_the_range_and_none_at_all(tmp_path):
    values = np.array([[np.nan, -np.inf, np.inf], [1, 2, 3], [0, 4, 2]], dtype=np.float32)
    file = save(tmp_path / "a.tif", Image.fromarray(values))
    np.testing.assert_array_equal(
        decode(file, 3, ranges={"float": [1, 3]})[..., 0],
        [[0, 0, 255], [0, 128, 255], [0, 255, 128]],
    )
    np.testing.assert_array_equal(
        decode(file, 3)[..., 0], [[0, 0, 255], [64, 128, 191], [0, 255, 128]]
    )


def test_one_level_is_black(tmp_path):
    file = save(tmp_path / "a.png", Image.fromarray(np.full((4, 4), 700, dtype=np.uint16)))
    assert not decode(file, 4).any()


@pytest.mark.parametrize(
    ("resize", "expected"),
    [
        ("crop", [[GREEN] * 4] * 4),
        (
            "pad",
            [
                [(0, 0, 0)] * 4,
                [RED, GREEN, GREEN, BLUE],
                [RED, GREEN, GREEN, BLUE],
                [(0, 0, 0)] * 4,
            ],
        ),
        ("stretch", [[RED, GREEN, GREEN, BLUE]] * 4),
    ],
)
@pytest.mark.parametrize("upright", [True, False])
def test_what_becomes_of_a_wide_and_a_high_image(tmp_path, resize, expected, upright):
    pixels = np.repeat(np.array([[RED, GREEN, GREEN, BLUE]], dtype=np.uint8), 2, axis=0)
    expected = np.array(expected)
    if upright:
        pixels, expected = pixels.swapaxes(0, 1), expected.swapaxes(0, 1)
    file = save(tmp_path / "a.png", Image.fromarray(pixels))
    many = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    decode_files([file], many, resize)
    for decoded in (decode(file, 4, resize), many[0]):
        assert (decoded.argmax(axis=2) == expected.argmax(axis=2)).all()
        assert (decoded.any(axis=2) == expected.any(axis=2)).all()


def test_an_image_of_16_bits_is_resized_alike(tmp_path):
    values = np.array([[0, 4000, 4000, 0]] * 2, dtype=np.uint16)
    images = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    decode_files([save(tmp_path / "a.png", Image.fromarray(values))], images, "pad")
    assert images[0, :, 1, 0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("size", [(1, 300), (300, 1)])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_a_line_of_pixels(tmp_path, resize, size):
    file = save(tmp_path / "a.png", Image.new("RGB", size, RED))
    assert decode(file, 8, resize).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "name", ["animated.png", "animated.webp", "animated.gif", "pages.tif", "animated.avif"]
)
def test_the_first_frame_of_an_animation(tmp_path, name):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    file = save(tmp_path / name, first, save_all=True, append_images=[second], lossless=True)
    with Image.open(file) as image:
        assert image.n_frames == 2
    np.testing.assert_allclose(decode(file, 4), np.full((4, 4, 3), RED), atol=1)


def test_the_rotation_a_camera_noted_is_applied(tmp_path):
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    file = save(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif, quality=100)
    upright = decode(file, 16)
    assert upright[:, 8:].min() > 250
    assert upright[:, :8].max() < 5


def decoded(files, size):
    images = np.zeros((len(files), size, size, 3), dtype=np.uint8)
    return images, decode_files([str(file) for file in files], images)


def test_files_are_decoded_in_order(tmp_path):
    files = [save(tmp_path / f"{i}.png", Image.new("RGB", (2, 2), (i, 0, 0))) for i in range(100)]
    images, found = decoded(files, 2)
    assert images[:, 0, 0, 0].tolist() == list(range(100))
    assert found == ({}, 0)


def test_all_images_of_more_than_8_bits_have_one_range(tmp_path):
    kinds = {"png": np.uint16, "tif": np.int32}
    files = []
    for i, kind in enumerate(["png", "tif", "png"]):
        values = np.full((2, 2), 100 * i, dtype=kinds[kind])
        files.append(save(tmp_path / f"{i}.{kind}", Image.fromarray(values)))
    for i, value in enumerate([0.25, 0.5, 0]):
        values = np.full((2, 2), value, dtype=np.float32)
        files.append(save(tmp_path / f"{i}_float.tif", Image.fromarray(values)))
    files.append(save(tmp_path / "8.png", Image.new("L", (2, 2), 77)))
    images, found = decoded(files, 2)
    assert found.ranges == {"integer": [0, 200], "float": [0, 0.5]}
    assert images[:, 1, 1, 2].tolist() == [0, 128, 255, 128, 255, 0, 77]
    again = [decode(file, 2, ranges=found.ranges) for file in files]
    np.testing.assert_array_equal(again, images)


def test_no_progress_bar_where_nobody_watches(tmp_path, capfd):
    decoded([save(tmp_path / "a.png", Image.new("RGB", (2, 2)))], 2)
    assert capfd.readouterr() == ("", "")


def test_an_image_of_nothing_but_nan_is_named(tmp_path):
    values = np.full((2, 2), np.nan, dtype=np.float32)
    file = save(tmp_path / "a.tif", Image.fromarray(values))
    with pytest.raises(UserError, match=r"1 of 1 .*a\.tif \(none of its values is finite"):
        decoded([file], 2)


def test_unreadable_files_are_named_and_counted(tmp_path):
    good = save(tmp_path / "good.png", Image.new("RGB", (64, 64), RED))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    with open(good, "rb") as stream:
        (tmp_path / "cut.png").write_bytes(stream.read()[:60])
    os.symlink(tmp_path / "nowhere", tmp_path / "link.png")
    names = ["good.png", "text.png", "empty.jpg", "cut.png", "link.png"]
    with pytest.raises(UserError) as raised:
        decoded([tmp_path / name for name in names], 8)
    message = str(raised.value)
    assert message.startswith("4 of 5 images cannot be read")
    assert message.endswith("and 1 more")
    assert all(name in message for name in names[1:4])
    assert "good.png" not in message
    assert "\n" not in message


@pytest.mark.parametrize("limit", [60, 40])  # Pillow warns above the limit, and raises above twice
def test_decompression_bombs_are_named(tmp_path, monkeypatch, limit):
    bomb = save(tmp_path / "bomb.png", Image.new("RGB", (10, 10)))
    fine = save(tmp_path / "fine.png", Image.new("RGB", (5, 5)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=r"1 of 2 images .*bomb\.png .*decompression bomb"):
        decoded([fine, bomb], 4)


def test_endings_are_those_of_what_pillow_reads_by_itself():
    assert {".png", ".jpg", ".tif", ".tiff", ".gif", ".avif", ".webp", ".bmp", ".mpo"} <= ENDINGS
    assert not {".pdf", ".eps", ".hdf", ".h5", ".mpg", ".txt", ".heic"} & ENDINGS


def test_heic_is_read_where_pillow_heif_is_installed(monkeypatch):
    def register_heif_opener():
        monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")

    fake = SimpleNamespace(register_heif_opener=register_heif_opener)
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    assert ".heic" in runpy.run_path(module.__file__)["ENDINGS"]

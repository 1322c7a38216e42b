import os

import numpy as np
import pytest
from PIL import Image

from metasemi_plugin.data.decode import decode, decode_files
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


def grey_16_bit():
    return Image.fromarray(np.full((4, 4), 200 * 256 + 17, dtype=np.uint16))


def palette_with_transparency():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([*BLUE, *RED])
    image.info["transparency"] = b"\x00\x80"
    return image


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("grey.png", Image.new("L", (4, 4), 77), (77, 77, 77)),
        ("black_and_white.bmp", Image.new("1", (4, 4), 1), (255, 255, 255)),
        ("grey_16_bit.png", grey_16_bit(), (200, 200, 200)),
        ("palette.png", palette_with_transparency(), RED),
        ("rgba.webp", Image.new("RGBA", (4, 4), (*GREEN, 255)), GREEN),
        ("grey_alpha.png", Image.new("LA", (4, 4), (50, 128)), (50, 50, 50)),
        ("cmyk.jpg", Image.new("CMYK", (4, 4), (0, 255, 255, 0)), RED),
        ("grey.JPEG", Image.new("L", (4, 4), 77), (77, 77, 77)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, name, image, expected):
    options = {"lossless": True} if name.endswith("webp") else {}
    decoded = decode(save(tmp_path / name, image, **options), 4)
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded, np.broadcast_to(expected, (4, 4, 3)), atol=2)


@pytest.mark.parametrize("name", ["animated.png", "animated.webp"])
def test_the_first_frame_of_an_animation(tmp_path, name):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    file = save(tmp_path / name, first, save_all=True, append_images=[second], lossless=True)
    with Image.open(file) as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(decode(file, 4), np.full((4, 4, 3), RED))


def test_the_rotation_a_camera_noted_is_applied(tmp_path):
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    file = save(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif, quality=100)
    upright = decode(file, 16)
    assert upright[:, 8:].min() > 250
    assert upright[:, :8].max() < 5


def test_files_are_decoded_in_order(tmp_path):
    files = [save(tmp_path / f"{i}.png", Image.new("RGB", (2, 2), (i, 0, 0))) for i in range(100)]
    assert decode_files(files, 2)[:, 0, 0, 0].tolist() == list(range(100))


def test_no_progress_bar_where_nobody_watches(tmp_path, capfd):
    decode_files([save(tmp_path / "a.png", Image.new("RGB", (2, 2)))], 2)
    assert capfd.readouterr() == ("", "")


def test_unreadable_files_are_named_and_counted(tmp_path):
    good = save(tmp_path / "good.png", Image.new("RGB", (64, 64), RED))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    with open(good, "rb") as stream:
        (tmp_path / "cut.png").write_bytes(stream.read()[:60])
    os.symlink(tmp_path / "nowhere", tmp_path / "link.png")
    names = ["good.png", "text.png", "empty.jpg", "cut.png", "link.png"]
    with pytest.raises(UserError) as raised:
        decode_files([str(tmp_path / name) for name in names], 8)
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
        decode_files([fine, bomb], 4)

"""Images that are not RGB: gray ones, and those of 2, 4 or more channels."""

import numpy as np
import pytest
import torch
from PIL import Image

from metasemi_plugin.data import DATASETS
from metasemi_plugin.data.arrays import ImageArrays
from metasemi_plugin.data.decode import decode, decode_files, endings
from metasemi_plugin.errors import UserError


def noise(*shape, most=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, most, shape).astype(dtype)


FOUR = noise(6, 6, 4)


def npy(path, values):
    np.save(path, values)
    return str(path)


def image(path, values, mode=None, **options):
    Image.fromarray(values, mode).save(path, **options)
    return str(path)


def pages(path, values):
    first, *others = (Image.fromarray(layer) for layer in np.moveaxis(values, 2, 0))
    first.save(path, save_all=True, append_images=others)
    return str(path)


@pytest.mark.parametrize(
    ("name", "save", "values"),
    [
        ("a.npy", npy, noise(6, 6, 5)),
        ("a.tif", image, FOUR),
        ("a.png", image, FOUR),
        ("cmyk.tif", lambda path, values: image(path, values, "CMYK"), FOUR),
        ("gray_alpha.png", lambda path, values: image(path, values, "LA"), noise(6, 6, 2)),
        ("pages.tif", pages, noise(6, 6, 7)),
    ],
)
def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path, name, save, values):
    file = save(tmp_path / name, values)
    np.testing.assert_array_equal(decode(file, 6, channels=values.shape[2]), values)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_each_channel_is_resized_as_an_image_of_its_own(tmp_path, resize):
    values = noise(9, 14, 4)
    found = decode(npy(tmp_path / "a.npy", values), 5, resize, channels=4)
    for channel in range(4):
        alone = image(tmp_path / "alone.png", values[..., channel])
        np.testing.assert_array_equal(found[..., channel], decode(alone, 5, resize)[..., 0])


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint16, "integer"), (np.float32, "float")])
def test_more_than_8_bits_have_one_range_over_all_files_and_channels(tmp_path, dtype, kind):
    values = [np.full((2, 2, 4), level, dtype) for level in (100, 200)]
    values[1][..., 3] = 300
    files = [npy(tmp_path / f"{i}.npy", one) for i, one in enumerate(values)]
    images = np.zeros((2, 2, 2, 4), np.uint8)
    ranges = decode_files(files, images).ranges
    assert ranges == {kind: [100, 300]}
    assert images[:, 0, 0].tolist() == [[0] * 4, [128, 128, 128, 255]]
    np.testing.assert_array_equal(decode(files[1], 2, ranges=ranges, channels=4), images[1])


def test_one_channel_makes_all_gray(tmp_path):
    rgb, gray = noise(4, 4, 3), noise(4, 4)
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    for file, expected in (
        (image(tmp_path / "rgb.png", rgb), luma),
        (image(tmp_path / "gray.png", gray), gray),
        (npy(tmp_path / "a.npy", gray), gray),
        (npy(tmp_path / "b.npy", gray[..., None]), gray),
    ):
        np.testing.assert_array_equal(decode(file, 4, channels=1), expected[..., None])
    deep = image(tmp_path / "deep.png", np.array([[0, 500], [1000, 0]], np.uint16))
    assert decode(deep, 2, channels=1).tolist() == [[[0], [128]], [[255], [0]]]


def tiff_of(extra_samples):
    """RGBA of which the fourth channel is said to be something else than alpha."""

    def save(path, values):
        image(path, values)
        alpha = b"\x52\x01\x03\x00\x01\x00\x00\x00\x02\x00\x00\x00"
        content = path.read_bytes()
        assert content.count(alpha) == 1
        path.write_bytes(content.replace(alpha, alpha[:8] + bytes([extra_samples, 0, 0, 0])))
        return str(path)

    return save


@pytest.mark.parametrize(
    ("name", "save", "values", "message"),
    [
        ("rgb.png", image, noise(6, 6, 3), "3 channels, not 4: set channels to 3, or save it as"),
        ("a.npy", npy, noise(6, 6, 5), "5 channels, not 4: set channels to 5"),
        ("gray.png", image, noise(6, 6), "1 channels, not 4: set channels to 1"),
        ("pages.tif", pages, noise(6, 6, 2), "2 channels, not 4"),
        ("a.npy", npy, noise(2, 6, 6, 4), r"uint8 of shape \(2, 6, 6, 4\): save it as .npy of num"),
        ("a.npy", npy, FOUR > 5, "bool of shape"),
        ("a.npy", npy, FOUR[:0], r"uint8 of shape \(0, 6, 4\)"),
        ("a.npy", lambda path, _: path.write_bytes(b"no array"), None, "pickled|magic|file"),
        (
            "a.tif",
            lambda path, _: path.write_bytes(b"II*\0 no"),
            None,
            "Pillow cannot read it: sav",
        ),
        ("unspecified.tif", tiff_of(0), FOUR, "Pillow does not read its channels as they are: sav"),
        ("premultiplied.tif", tiff_of(1), FOUR, "does not read its channels as they are"),
    ],
)
def test_what_has_not_the_channels_is_named(tmp_path, name, save, values, message):
    save(tmp_path / name, values)
    with pytest.raises(UserError, match=rf"1 of 1 images.*{name} \(.*(?:{message})") as raised:
        decode_files([str(tmp_path / name)], np.zeros((1, 6, 6, 4), np.uint8))
    assert "\n" not in str(raised.value)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 4 images of 4 channels to train on and 2 to test on, half of them 16 bits."""
    for part, count in (("train", 4), ("test", 2)):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(count):
                dtype = np.uint16 if i % 2 else np.uint8
                npy(tmp_path / part / label / f"{i}.npy", np.full((8, 8, 4), 50 * i, dtype))
    return tmp_path


def build(args, views=None):
    return DATASETS["image_folder"](args, views or {})


def test_a_folder_of_four_channels(folder, make_args):
    args = make_args(dataset="image_folder", num_classes=2, num_labels=2, channels=4)
    splits = build(args, {"x_ulb_w": "weak"})
    assert len(splits.train_lb.mean) == 4
    assert splits.train_ulb.images[:].shape == (8, 8, 8, 4)
    assert splits.train_ulb.images[:][:4, 0, 0, 3].tolist() == [0, 0, 100, 255]
    assert splits.train_lb.notes.ranges == {"integer": [50, 150]}
    batch = splits.train_ulb.read([0, 1], torch.Generator())
    assert batch["x_ulb_w"].shape == (2, 4, 8, 8)
    (cache,) = (folder / ".metasemi_cache").iterdir()
    assert cache.name == "images-8-crop-4.bin"


def test_of_rgb_folders_arrays_are_no_part(folder, make_args, add_images):
    for part in ("train/a", "train/b", "test/a", "test/b"):
        add_images(part, 2)
    args = make_args(dataset="image_folder", num_classes=2, num_labels=2)
    splits = build(args)
    assert splits.train_ulb.images.shape == (4, 8, 8, 3)
    assert splits.train_lb.notes.left_out == {".npy": 12}
    (cache,) = (folder / ".metasemi_cache").iterdir()
    assert cache.name == "images-8-crop.bin"
    assert endings(4) - endings(3) == endings(1) - endings(3) == {".npy"}


def test_each_channel_is_seen_as_an_image_of_its_own_would_be():
    """Normalized by its own mean and deviation, and moved as the others are."""
    values = noise(20, 8, 8, 5)
    mean, std = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1]

    def seen(which):
        data = ImageArrays(
            values[..., which], np.zeros(20, np.int64), mean=mean[which], std=std[which],
            views={"plain": "plain", "x": "weak"}, role="ulb", translation=2,
        )  # fmt: skip
        return data.read(range(20), torch.Generator().manual_seed(0))

    together = seen(slice(None))
    assert not torch.equal(together["x"], together["plain"])
    for channel in range(5):
        alone = seen(slice(channel, channel + 1))
        for view in ("plain", "x"):
            assert torch.equal(together[view][:, channel], alone[view][:, 0])


def test_the_digits_are_had_gray_as_they_are(make_args):
    gray, rgb = (DATASETS["digits"](make_args(channels=channels), {}) for channels in (1, 3))
    assert gray.train_lb.images[:].shape == (40, 8, 8, 1)
    assert gray.train_lb.mean == rgb.train_lb.mean[:1]
    np.testing.assert_array_equal(
        np.repeat(gray.train_lb.images[:], 3, axis=3), rgb.train_lb.images[:]
    )

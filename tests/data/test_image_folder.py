import os
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from metasemi_plugin.data import DATASETS, image_folder
from metasemi_plugin.data.fingerprint import split_record
from metasemi_plugin.errors import UserError


@pytest.fixture
def build(make_args):
    def build(views=None, **changes):
        args = make_args(dataset="image_folder", **{"num_classes": 2, "num_labels": 4, **changes})
        return DATASETS["image_folder"](args, views or {})

    return build


@pytest.fixture
def folder(tmp_path, add_images):
    """Two classes with spaces and accents: 6 + 8 images to train on, 3 + 2 to test on."""
    add_images("train/chat noir", 6)
    add_images("train/été", 8)
    add_images("test/chat noir", 3)
    add_images("test/été", 2)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """How many files each call of the decoder was given."""
    calls = []
    decode_files = image_folder.decode_files

    def counting(files, images, resize):
        calls.append(len(files))
        return decode_files(files, images, resize)

    monkeypatch.setattr(image_folder, "decode_files", counting)
    return calls


def test_train_and_test(build, folder):
    splits = build()
    assert splits.class_names == ["chat noir", "été"]
    assert splits.train_lb.targets.tolist() == [0, 0, 1, 1]
    assert splits.train_ulb.targets.tolist() == [0] * 6 + [1] * 8
    assert splits.eval.targets.tolist() == [0, 0, 0, 1, 1]
    assert splits.test is None


def test_every_image_is_where_its_name_sorts(build, folder):
    splits = build(img_size=4)
    for part, name in ((splits.train_ulb, "train"), (splits.eval, "test")):
        files = sorted((folder / name).glob("*/*"))
        assert len(part) == len(files)
        for image, file in zip(part.images[:], files, strict=True):
            with Image.open(file) as opened:
                np.testing.assert_array_equal(image, np.full((4, 4, 3), opened.getpixel((0, 0))))


def test_num_val_beside_a_test_set(build, folder):
    splits = build(num_val=4)
    assert [len(part) for part in splits[:4]] == [4, 10, 4, 5]
    assert np.bincount(splits.eval.targets).tolist() == [2, 2]
    trained = splits.train_ulb.positions.tolist()
    assert sorted([*trained, *splits.eval.positions]) == list(range(14))
    assert splits.test.positions.tolist() == list(range(14, 19))
    other = build(num_val=4, seed=1)
    assert splits.eval.positions.tolist() != other.eval.positions.tolist()


def test_val_and_unlabeled(build, folder, add_images):
    add_images("val/chat noir", 1)
    add_images("val/été", 1)
    add_images("unlabeled", 5)
    add_images("unlabeled/more/and more", 2)
    splits = build()
    assert [len(part) for part in splits[:4]] == [4, 14 + 7, 2, 5]
    assert splits.train_ulb.targets.tolist() == [0] * 6 + [1] * 8 + [-1] * 7


def test_num_val_in_place_of_a_folder(build, folder):
    shutil.rmtree(folder / "test")
    splits = build(num_val=4)
    assert [len(part) for part in splits[:3]] == [4, 10, 4]
    assert splits.test is None


def test_all_images_are_labeled_when_fully_supervised(build, folder):
    assert len(build(algorithm="fullysupervised").train_lb) == 14


@pytest.mark.parametrize("flip", [True, False])
def test_flip_is_an_option(build, folder, flip):
    assert build(flip=flip).train_ulb.flip is flip


def test_suffixes_in_capitals_and_nested_folders(build, folder, add_images):
    (folder / "train/été/0.png").rename(folder / "train/été/0.PNG")
    add_images("train/été/summer", 2)
    assert len(build().train_ulb) == 16


def test_links(build, folder, add_images):
    add_images("elsewhere", 3)
    os.symlink(folder / "train", folder / "train/été/loop")
    os.symlink(folder / "train/été/0.png", folder / "train/été/again.png")
    shutil.rmtree(folder / "test/été")
    os.symlink(folder / "elsewhere", folder / "test/été")
    splits = build()
    assert (len(splits.train_ulb), len(splits.eval)) == (15, 6)


def test_the_second_build_reads_the_cache(build, folder, decoded):
    first, second = build(), build()
    assert decoded == [19]
    for one, two in zip(first[:3], second[:3], strict=True):
        np.testing.assert_array_equal(one.images[:], two.images[:])
        np.testing.assert_array_equal(one.targets, two.targets)


def test_the_cache_moves_with_the_folder(build, folder, decoded, tmp_path_factory):
    build()
    moved = tmp_path_factory.mktemp("other") / "moved"
    shutil.copytree(folder, moved)  # keeps the times of last change
    build(data_dir=str(moved))
    assert decoded == [19]


def test_another_size_has_a_cache_of_its_own(build, folder, decoded):
    for size in (8, 4, 8, 4):
        assert build(img_size=size).eval.images.shape[1] == size
    assert decoded == [19, 19]


def test_each_way_to_resize_has_a_cache_of_its_own(build, folder, decoded):
    Image.new("RGB", (16, 8), "white").save(folder / "test/chat noir/0.png")
    for _ in range(2):
        for resize, border in (("crop", 255), ("pad", 0), ("stretch", 255)):
            assert build(resize=resize).eval.images[:1][0, 0, 0, 0] == border
    assert decoded == [19, 19, 19]


def gray_16_bits(file, value):
    Image.fromarray(np.full((8, 8), value, dtype=np.uint16)).save(file)


def test_images_of_16_bits_have_one_range_wherever_they_are(build, folder, decoded):
    gray_16_bits(folder / "train/été/0.png", 1000)
    gray_16_bits(folder / "test/été/0.png", 3000)
    gray_16_bits(folder / "test/été/1.png", 2000)
    for _ in range(2):
        splits = build()
        assert splits.eval.images[:][3:, 0, 0, 0].tolist() == [255, 128]
        assert splits.train_ulb.images[:][6, 0, 0, 0] == 0
        assert splits.train_lb.notes == ({}, {"integer": [1000, 3000]}, 0, {})
    gray_16_bits(folder / "train/été/0.png", 0)
    assert build().eval.images[:][3:, 0, 0, 0].tolist() == [255, 170]
    assert decoded == [19, 19]


def test_memory_for_the_images_once(build, add_images):
    """Decoding, storing and splitting 240 images of 224 x 224 pixels, and reading them all."""
    for part in ("train/a", "train/b", "unlabeled"):
        add_images(part, 70)
    for part in ("test/a", "val/a"):
        add_images(part, 15)
    pixels = 240 * 224 * 224 * 3
    for cached in (False, True):
        tracemalloc.start()
        splits = build(img_size=224, num_labels=100, include_lb_to_ulb=False)
        split_record({"train_lb": splits.train_lb, "train_ulb": splits.train_ulb})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1.3 * pixels, cached


def test_a_changed_file_is_decoded_anew(build, folder, decoded):
    build()
    file = folder / "test/chat noir/0.png"
    before = file.stat()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert build().eval.images[:1][0, 0, 0].tolist() == [1, 2, 3]
    assert decoded == [19, 19]


@pytest.mark.parametrize("change", ["add", "remove", "rename"])
def test_a_changed_folder_is_decoded_anew(build, folder, add_images, decoded, change):
    build()
    file = folder / "train/été/0.png"
    if change == "add":
        add_images("train/été", 1, start=50)
    elif change == "remove":
        file.unlink()
    else:
        file.rename(file.with_name("00.png"))
    build()
    assert len(decoded) == 2


def test_a_folder_that_cannot_be_written(build, folder, decoded, caplog):
    (folder / ".metasemi_cache").touch()
    build()
    build()
    assert decoded == [19, 19]
    assert "cannot store decoded images" in caplog.text


def test_no_such_folder(build, tmp_path):
    with pytest.raises(UserError, match=r"nowhere is not a folder: expected train/<class>/\*"):
        build(data_dir=str(tmp_path / "nowhere"))


def test_an_empty_folder(build):
    with pytest.raises(UserError, match="has no folder train/: expected train/<class>"):
        build()


def test_a_wrong_number_of_classes(build, folder):
    with pytest.raises(
        UserError, match=r"num_classes: 10, but .*train has 2 class.*'été'.*set it to 2"
    ):
        build(num_classes=10)


def test_nothing_to_evaluate_on(build, folder):
    shutil.rmtree(folder / "test")
    with pytest.raises(UserError, match=r"neither test/ nor val/.*set num_val"):
        build()


def test_too_few_images_for_the_labels(build, folder):
    with pytest.raises(UserError, match=r"class 'chat noir' has 6 .* asks for 7"):
        build(num_labels=14)


def test_an_unreadable_image(build, folder):
    (folder / "train/été/broken.jpg").write_text("no image")
    os.symlink(folder / "nowhere", folder / "train/été/dangling.jpg")
    with pytest.raises(UserError, match=r"2 of 21 images .*broken\.jpg.*dangling\.jpg"):
        build()
    assert not (folder / ".metasemi_cache").exists()

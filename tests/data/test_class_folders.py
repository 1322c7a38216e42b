import os
import shutil
from collections import Counter

import pytest

from metasemi_plugin.data.class_folders import class_names, find_images, in_words
from metasemi_plugin.errors import UserError


@pytest.fixture
def folder(tmp_path, add_images):
    for part in ("train/cat", "train/dog", "test/cat", "test/dog"):
        add_images(part, 2)
    return tmp_path


def targets(folder):
    return {part: [t for _, t in files] for part, files in find_images(folder).parts.items()}


def test_what_is_no_image_is_counted(folder, add_images):
    assert not find_images(folder).left_out
    for name in (
        "train/cat/a.HEIC",
        "test/dog/b/c.heic",
        "train/list.txt",
        "unlabeled/x.svg.gz",
        "of",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    add_images("extra", 2)
    add_images("unlabeled", 1)
    add_images("val/cat", 1)
    shutil.copy(folder / "extra/0.png", folder / "val/beside.png")
    os.symlink(folder / "extra", folder / "train/dog/extra")
    found = find_images(folder)
    assert {part: len(files) for part, files in found.parts.items()} == {
        "train": 4, "val": 1, "test": 4, "unlabeled": 1,
    }  # fmt: skip
    assert found.left_out == {
        ".heic": 2, ".txt": 1, ".gz": 1, "without ending": 1, "extra/": 1, ".png": 1,
        "link to a folder": 1,
    }  # fmt: skip


def test_what_systems_leave_behind_is_nothing(folder, add_images):
    for part in ("", "train/", "train/cat/"):
        for name in ("__MACOSX", "@eaDir", ".thumbnails"):
            add_images(f"{part}{name}", 1)
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini", ".hidden.png"):
            (folder / f"{part}{name}").touch()
    found = find_images(folder)
    assert found.classes == ["cat", "dog"]
    assert len(found.parts["train"]) == 4
    assert not found.left_out


def test_left_out_in_words():
    assert in_words({".txt": 2, ".tif": 30}) == "30 .tif, 2 .txt"
    assert in_words(Counter({".heic": 1})) == "1 .heic, to read .heic, pip install pillow-heif"


def test_val_and_test_may_lack_a_class(folder, add_images):
    add_images("val/dog", 1)
    shutil.rmtree(folder / "test/cat")
    assert targets(folder) == {"train": [0, 0, 1, 1], "val": [1], "test": [1, 1]}
    (folder / "test/cat").mkdir()
    assert targets(folder)["test"] == [1, 1]


def test_a_class_that_train_has_not(folder, add_images):
    add_images("test/bird", 1)
    with pytest.raises(UserError, match="test/ has class folders that train/ has not: 'bird'"):
        find_images(folder)


@pytest.mark.parametrize("part", ["train/cat", "test", "unlabeled"])
def test_no_images(folder, part):
    shutil.rmtree(folder / part, ignore_errors=True)
    (folder / part).mkdir()
    with pytest.raises(UserError, match=f"{part} has no images: add some or remove the folder"):
        find_images(folder)


def test_no_images_but_other_files(folder):
    shutil.rmtree(folder / "train/cat")
    (folder / "train/cat").mkdir()
    (folder / "train/cat/a.heic").touch()
    with pytest.raises(UserError, match=r"cat has no images but 1 \.heic, to .*pillow-heif: add"):
        find_images(folder)


@pytest.mark.parametrize(
    ("name", "right"),
    [("Train", "train"), ("training", "train"), ("VALIDATION", "val"), ("valid", "val"),
     ("Testing", "test"), ("unlabelled", "unlabeled"), ("Unlabeled", "unlabeled")],
)  # fmt: skip
@pytest.mark.parametrize("complete", [True, False])
def test_a_folder_of_another_name(folder, name, right, complete):
    if not complete:
        shutil.rmtree(folder / "train")
    (folder / name).mkdir()
    with pytest.raises(
        UserError, match=f"{name} is not used under this name: rename it to {right},"
    ):
        class_names(folder)


def test_a_flat_folder_of_classes(tmp_path, add_images):
    add_images("cat", 1)
    add_images("dog", 1)
    with pytest.raises(
        UserError, match=r"no folder train/: .*if 'cat', 'dog' are the classes, move"
    ):
        find_images(tmp_path)


def test_no_class_folders(tmp_path, add_images):
    add_images("train", 3)
    with pytest.raises(UserError, match="train has no class folders: expected train/<class>"):
        find_images(tmp_path)

"""Any number of labeled images a class: all of train/, or those that a CSV names."""

import numpy as np
import pytest

from metasemi_plugin.cli.predict import Row, table
from metasemi_plugin.data import DATASETS
from metasemi_plugin.data.class_folders import find_images
from metasemi_plugin.data.labels import find_labeled
from metasemi_plugin.data.split import hold_out, leave_out_fold
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve


@pytest.fixture
def root(tmp_path, add_images):
    """5 cats and 1 dog, 2 + 1 images without labels, 2 to test on."""
    for part, number in (("train/cat", 5), ("train/dog", 1), ("train/_unlabeled", 1),
                         ("unlabeled", 2), ("test/cat", 2)):  # fmt: skip
        add_images(part, number)
    return tmp_path


@pytest.fixture
def build(make_args):
    def build(**changes):
        args = make_args(dataset="image_folder", num_classes=2, num_labels=6, **changes)
        return DATASETS["image_folder"](args, {"x_ulb_w": "weak"})

    return build


@pytest.fixture
def settled(root):
    def settled(**given):
        folder = {"dataset": "image_folder", "data_dir": str(root), "num_classes": 2}
        return resolve(None, folder | given)

    return settled


@pytest.fixture
def write(root):
    def write(*rows, head="file,class"):
        (root / "labels.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
        return str(root / "labels.csv")

    return write


def test_all(build, root):
    splits = build(labels="all")
    assert splits.train_lb.targets.tolist() == [0] * 5 + [1]
    assert splits.train_ulb.targets.tolist() == [0] * 5 + [1] + [-1] * 3
    assert splits.train_lb.notes.labeled == {"cat": 5, "dog": 1}
    assert splits.train_lb.notes.lines() == ["6 labeled images found: 5 cat, 1 dog"]


def test_unlabeled_in_train_is_no_class_and_not_left_out(root):
    found = find_images(root)
    assert (found.classes, found.left_out) == (["cat", "dog"], {})
    assert len(found.parts["unlabeled"]) == 3


def test_validation_images_and_folds_leave_one_of_each_class(build, root):
    splits = build(labels="all", num_val=3)
    assert splits.eval.targets.tolist() == [0] * 3
    assert splits.train_lb.targets.tolist() == [0, 0, 1]
    folds = [build(labels="all", label_folds=2, label_fold=i).eval for i in range(2)]
    assert [fold.targets.tolist() for fold in folds] == [[0] * 3, [0] * 2]


def test_a_csv(build, root, write):
    rows = ["train/cat/1.png,dog", f"{root}/unlabeled/0.png,cat", "train/cat/1.png,dog,1"]
    splits = build(labels=write(*rows))
    assert splits.train_lb.targets.tolist() == [1, 0]
    assert splits.train_lb.positions.tolist() == [1, 6]
    assert np.bincount(splits.train_ulb.targets + 1).tolist() == [7, 1, 1]


def test_a_folder_in_the_csv_is_all_images_that_are_closest_to_it(root, write):
    path = write("unlabeled/0.png,cat", "train/cat/,cat", "train/cat/1.png,dog", "train,dog")
    found = find_labeled(root, path)
    assert [t for _, t in found.parts["train"]] == [0, 1, 0, 0, 0, 1, 0, -1, 1]
    with pytest.raises(UserError, match=r"line 3: 'train' is of class 'cat' here .* in line 2"):
        find_labeled(root, write("train,dog", "train,cat"))


def test_the_csv_of_predict(root, monkeypatch):
    """It names files as they are called from where the command was."""
    monkeypatch.chdir(root.parent)
    files = [f"{root.name}/unlabeled/{i}.png" for i in range(2)]
    ranked = [[("cat", 0.7), ("dog", 0.3)], [("dog", 0.6), ("cat", 0.4)]]
    (root / "out").mkdir()
    path = root / "out" / "p.csv"
    path.write_text(table([*map(Row, files, ranked)], 2), encoding="utf-8-sig")
    train = find_labeled(root, str(path)).parts["train"]
    assert [target for _, target in train] == [-1] * 6 + [0, 1, -1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["train/cat/9.png,cat"], r"line 2: 'train/cat/9.png' is no image below .*: correct the"),
        (["test/cat/0.png,cat"], "line 2: 'test/cat/0.png' is no image below"),
        ([",cat"], "line 2: '' is no image below"),
        (["../,cat"], "line 2: '../' is no image below"),
        (["train/cat/0.png,cow"], "line 2: 'cow' is no class .* 'cat', 'dog': correct it"),
        (["train/cat/0.png,cat", "train/cat/0.png,dog"], "line 3: .*'dog' here .*'cat' in line 2"),
        (["train/cat/0.png,cat"], "no image is of class 'dog': add one"),
    ],
)
def test_a_wrong_csv_is_one_line(rows, message, settled, write):
    with pytest.raises(UserError, match=message) as raised:
        settled(labels=write(*rows))
    assert len(str(raised.value).splitlines()) == 1


def test_a_csv_without_its_columns_or_not_there(settled, write):
    with pytest.raises(UserError, match="line 1: expected the columns file,class"):
        settled(labels=write(head="path;class"))
    with pytest.raises(UserError, match=r"expected equal, all, or a CSV file, but cannot.*'al'"):
        settled(labels="al")


def test_the_number_of_labels_is_what_is_found(settled):
    assert settled(labels="all").num_labels == 6
    assert settled(num_labels="6").labels == "all"
    assert settled(num_labels="4").labels == "equal"
    with pytest.raises(UserError, match="num_labels: 4, but labels finds 6: leave it out"):
        settled(labels="all", num_labels="4")


def test_labels_win_over_a_number_in_a_file(root):
    (root / "run.yaml").write_text(f"dataset: image_folder\ndata_dir: {root}\nnum_labels: 4000\n")
    given = {"labels": "all", "num_classes": 2}
    assert resolve(str(root / "run.yaml"), given).num_labels == 6


def test_other_data_sets_have_no_such_option():
    with pytest.raises(UserError, match="labels: only dataset image_folder has it"):
        resolve(None, {"dataset": "digits", "labels": "all"})


def test_impossible_sizes_of_uneven_labels():
    targets = np.array([0] * 5 + [1])
    with pytest.raises(UserError, match=r"less than the 4 labeled images beyond 1 .*, not 4"):
        hold_out(targets, 4, 2, seed=0, keep=1)
    with pytest.raises(UserError, match="label_folds 6: classes of 2 or more labels have 5"):
        leave_out_fold(targets, 6, 0, 2, seed=0, uneven=True)

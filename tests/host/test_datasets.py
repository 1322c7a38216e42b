"""CIFAR-10 in both protocols behind our loaders, on images made here in place of torchvision's."""

import json
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import semilearn
import torchvision
from PIL import Image

from metasemi_plugin import train
from metasemi_plugin.data.fingerprint import split_record
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.streams import collated


@pytest.fixture
def cifar10(monkeypatch):
    """40 training and 20 test images, 4 and 2 of each class."""

    class Fake:
        def __init__(self, root, train, download):
            n = 40 if train else 20
            self.targets = [i % 10 for i in range(n)]
            self.classes = [f"class {i}" for i in range(10)]
            self.data = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Fake)


@pytest.fixture
def options(tiny_run, tmp_path):
    def options(algorithm="metasemi", **changes):
        return tiny_run(
            algorithm,
            dataset="cifar10",
            img_size=32,
            num_labels=20,
            data_dir=str(tmp_path / "data"),
            **changes,
        )

    return options


@pytest.mark.parametrize(
    ("algorithm", "views"),
    [
        ("metasemi", {"x_ulb_w"}),
        ("mixmatch", {"x_ulb_w", "x_ulb_s"}),
        ("fixmatch", {"x_ulb_w", "x_ulb_s"}),
        ("supervised", set()),
    ],
)
def test_views_are_those_the_algorithm_needs(algorithm, views, cifar10, options, build):
    built = build(**options(algorithm))
    batch = collated(built.loader_dict["train_ulb"].dataset.__getitems__([0]))
    assert set(batch) == {"idx_ulb", *views}
    assert len(built.dataset_dict["train_lb"]) == 20
    assert len(built.dataset_dict["train_ulb"]) == 40


def test_the_split_follows_the_seed(cifar10, options, build):
    def labeled(seed):
        return build(**options(seed=seed)).dataset_dict["train_lb"].data

    assert np.array_equal(labeled(1), labeled(1))
    assert not np.array_equal(labeled(1), labeled(2))


def test_a_run_writes_into_its_own_folders_alone(cifar10, options, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    site_packages = Path(semilearn.__file__).parent.parent
    before = {p.name for p in site_packages.iterdir()}
    run = train(**options(save_name="run"))
    assert run["iterations"] == 6
    assert list(here.iterdir()) == []
    assert {p.name for p in site_packages.iterdir()} == before
    assert {p.name for p in tmp_path.iterdir()} == {"here", "data", "run"}


@pytest.mark.parametrize("key", ["num_val", "label_folds"])
def test_validation_images_are_refused_for_the_hosts_protocol(key, cifar10, options, build):
    with pytest.raises(UserError, match=f"{key}: .* set {key} to 0 or protocol to paper"):
        build(**options(**{key: 10}))


def test_the_papers_protocol_has_validation_and_test_images(cifar10, options, build):
    built = build(**options(protocol="paper", num_val=10, save_name="run"))
    sizes = {name: len(part) for name, part in built.dataset_dict.items()}
    assert sizes == {"train_lb": 20, "train_ulb": 30, "eval": 10, "test": 20}


@pytest.mark.parametrize("protocol", ["usb", "paper"])
def test_without_data_and_without_a_network(protocol, options, build, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", refuse)
    with pytest.raises(UserError, match=r"cifar10 is not in .*no network.*cifar-10-python"):
        build(**options(protocol=protocol))


def test_an_unknown_protocol(options, build):
    with pytest.raises(UserError, match="protocol: unknown 'papers'; did you mean 'paper'"):
        build(**options(protocol="papers"))


def record(built):
    return split_record(built.dataset_dict)


def test_the_record_of_a_split_has_the_positions_of_every_part(cifar10, options, build):
    first, again, other = (
        record(build(**options(protocol="paper", num_val=10, seed=seed))) for seed in (1, 1, 2)
    )
    assert first.hash == again.hash != other.hash
    assert set(first.positions) == {"train_lb", "train_ulb", "eval", "test"}
    trained = first.positions["train_ulb"]
    assert sorted([*trained, *first.positions["eval"]]) == list(range(40))
    assert first.positions["test"].tolist() == list(range(40, 60))
    assert first.positions["test"].dtype == np.int64


def test_the_record_of_the_hosts_split_is_its_hash(cifar10, options, build):
    first, again, other = (record(build(**options(seed=seed))) for seed in (1, 1, 2))
    assert first.hash == again.hash != other.hash
    assert first.positions == {}


def test_the_record_without_a_test_set(build, tiny_run):
    assert set(record(build(**tiny_run())).positions) == {"train_lb", "train_ulb", "eval"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_labels": 15}, "num_labels.*10"), ({"num_classes": 5}, "num_classes.*10")],
)
def test_sizes_that_do_not_fit_are_named(changes, message, cifar10, options, build):
    with pytest.raises(UserError, match=message):
        build(**{**options(), **changes})


@pytest.fixture
def photos(tiny_run, tmp_path):
    """Options of a run on three classes of 16-bit pictures, of which test/ has two."""
    for part in ("train/a", "train/b", "train/c", "test/a", "test/b"):
        (tmp_path / "photos" / part).mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(i).integers(100, 4000, (16, 16), dtype=np.uint16)
            pixels[0, :2] = 100, 4000
            Image.fromarray(pixels).save(tmp_path / "photos" / part / f"{i}.png")
    return tiny_run(
        dataset="image_folder",
        data_dir=str(tmp_path / "photos"),
        num_classes=3,
        num_labels=6,
        save_name="run",
    )


def test_how_a_folder_was_read_is_in_the_log_and_the_record(photos, tmp_path, capsys):
    for name in ("train/a/x.heic", "test/b/x.heic", "train/list.csv"):
        (tmp_path / "photos" / name).touch()
    train(**photos)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["data"] == {
        "left_out": {".heic": 2, ".csv": 1},
        "ranges": {"integer": [100, 4000]},
        "cut": 0,
        "labeled": {},
    }
    for text in (capsys.readouterr().out, (tmp_path / "run" / "log.txt").read_text()):
        assert "2 .heic, 1 .csv, to read .heic, pip install pillow-heif" in text
        assert "the lowest, 100, becomes black and the highest, 4000, white" in text


def test_a_test_set_that_lacks_a_class_is_evaluated(photos):
    assert 0 <= train(**photos)["last_error"] <= 100


@pytest.mark.parametrize("labels", [6, 8])
def test_the_class_folders_say_that_num_classes_is_wrong(photos, labels):
    with pytest.raises(UserError) as raised:
        resolve(None, {**photos, "num_classes": 4, "num_labels": labels})
    (line,) = str(raised.value).splitlines()
    assert "num_classes: 4, but" in line
    assert line.endswith("photos/train has 3 class folders ('a', 'b', 'c'): set it to 3")


@pytest.mark.parametrize("there", [True, False])
def test_labels_that_cannot_be_divided_among_the_class_folders(photos, there, tmp_path):
    if not there:
        photos["data_dir"] = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"num_labels: 8 .* 3 classes: use 6 or 9"):
        resolve(None, {**photos, "num_labels": 8})


LONG_TAIL = {"num_labels": 2, "lb_imb_ratio": 2, "ulb_num_labels": 2, "ulb_imb_ratio": -2}


@pytest.mark.parametrize("protocol", ["usb", "paper"])
def test_long_tails_are_those_of_the_host(protocol, cifar10, options, build):
    """2 labels of the first class, 1 of the last; of the unlabeled the other way round."""
    built = build(**options() | LONG_TAIL | {"protocol": protocol, "include_lb_to_ulb": False})
    counts = {
        part: np.bincount(built.dataset_dict[part].targets, minlength=10).tolist()
        for part in ("train_lb", "train_ulb")
    }
    assert counts == {"train_lb": [2] + [1] * 9, "train_ulb": [1] * 9 + [2]}
    with_labeled = build(**options() | LONG_TAIL | {"protocol": protocol})
    assert len(with_labeled.dataset_dict["train_ulb"]) == 22


@pytest.mark.parametrize("protocol", ["usb", "paper"])
@pytest.mark.parametrize("option", ["num_labels", "ulb_num_labels"])
def test_more_than_a_class_has_is_an_error(protocol, option, cifar10, options, build):
    with pytest.raises(UserError, match=f"{option}.*lower"):
        build(**options() | LONG_TAIL | {"protocol": protocol, option: 5})

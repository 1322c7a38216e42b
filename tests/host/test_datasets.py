"""semilearn's CIFAR-10 behind our loaders, on images made here in place of torchvision's."""

from pathlib import Path

import numpy as np
import pytest
import semilearn
import torchvision

from metasemi_plugin import train
from metasemi_plugin.errors import UserError


@pytest.fixture
def cifar10(monkeypatch):
    """40 training and 20 test images, 4 and 2 of each class."""

    class Fake:
        def __init__(self, root, train, download):
            n = 40 if train else 20
            self.targets = [i % 10 for i in range(n)]
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
    (sample,) = built.loader_dict["train_ulb"].dataset.__getitems__([0])
    assert set(sample) == {"idx_ulb", *views}
    assert len(built.dataset_dict["train_lb"]) == 20
    assert len(built.dataset_dict["train_ulb"]) == 40


def test_the_split_follows_the_seed(cifar10, options, build):
    def labelled(seed):
        return build(**options(seed=seed)).dataset_dict["train_lb"].data

    assert np.array_equal(labelled(1), labelled(1))
    assert not np.array_equal(labelled(1), labelled(2))


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


def test_validation_images_are_refused_for_the_hosts_data(cifar10, options, build):
    with pytest.raises(UserError, match="num_val"):
        build(**options(num_val=10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_labels": 15}, "num_labels.*10"), ({"num_classes": 5}, "num_classes.*10")],
)
def test_sizes_that_do_not_fit_are_named(changes, message, cifar10, options, build):
    with pytest.raises(UserError, match=message):
        build(**{**options(), **changes})

"""Only what a run has written is ever deleted."""

import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from metasemi_plugin import train
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import layout
from metasemi_plugin.run_folder.lock import locked


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    from tiny import TINY_RUN

    options = {"save_dir": str(tmp_path_factory.mktemp("runs")), "save_name": "run"}
    return Path(train(**TINY_RUN | options | {"use_tensorboard": True})["folder"])


@pytest.fixture
def run(complete, tmp_path):
    """A copy of a complete run, which may be changed."""
    return Path(shutil.copytree(complete, tmp_path / "run"))


def why(folder, data_dir="/elsewhere"):
    return layout.obstacle(folder, Namespace(data_dir=str(data_dir)))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_folder_may_be_replaced(run):
    for name in ("latest_model.pth.unusable", "run.json.part", "latest_model.pth.part"):
        (run / name).touch()
    assert why(run) is None
    layout.clear(run)
    assert [path.name for path in run.iterdir()] == [".lock"]
    assert why(run) is None
    assert why(run / "nothing") is None


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        ("notes.txt", "holds what no run writes (notes.txt)"),
        ("tensorboard/notes.txt", "holds what no run writes (tensorboard)"),
        ("tensorboard/events.out.tfevents.1/x", "holds what no run writes (tensorboard)"),
        ("model.pth/x", "holds what no run writes (model.pth)"),
        ("notes.part", "holds what no run writes (notes.part)"),
    ],
)
def test_what_no_run_writes_is_in_the_way_and_stays(run, foreign, said):
    (run / foreign).parent.mkdir(exist_ok=True)
    (run / foreign).write_text("mine")
    assert why(run) == said
    layout.clear(run)
    assert (run / foreign).read_text() == "mine"


def test_a_link_is_not_followed(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/events.out.tfevents.1").touch()
    shutil.rmtree(run / "tensorboard")
    (run / "tensorboard").symlink_to(tmp_path / "mine")
    assert why(run) == "holds what no run writes (tensorboard)"
    layout.clear(run)
    assert (tmp_path / "mine/events.out.tfevents.1").exists()


@pytest.mark.parametrize("missing", ["config.yaml", "run.json"])
def test_without_its_config_or_record_it_is_no_run(run, missing):
    (run / missing).unlink()
    assert why(run) == "is no run folder, as config.yaml and run.json are not both there"


def test_one_that_was_cut_off_before_its_record_is_one(tmp_path):
    names = ("config.yaml", "split.npz.part", "tensorboard/events.out.tfevents.1", "run.json.part")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert "is no run folder" in why(tmp_path)
    with locked(tmp_path):
        assert why(tmp_path) is None


def test_one_that_is_cut_off_while_it_is_deleted_is_one(run, monkeypatch):
    """Whichever file was the last to go."""
    unlink, left = Path.unlink, len(files(run)) - 1  # but for the lock

    def unlink_once(path):
        unlink(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", unlink_once)
    with locked(run):
        while left:
            with pytest.raises(KeyboardInterrupt):
                layout.clear(run)
            left -= 1
            assert why(run) is None
        layout.clear(run)
        assert layout.contents(run) == set()


def test_neither_the_data_nor_the_working_directory(run, tmp_path, monkeypatch):
    assert why(run, run) == f"is or holds the data_dir {run}"
    assert why(run, run / "x") == f"is or holds the data_dir {run / 'x'}"
    assert why(run, tmp_path) == f"lies within the data_dir {tmp_path}"
    assert why(run, f"{tmp_path}/x/..") == f"lies within the data_dir {tmp_path}"
    assert why(run, tmp_path / "ru") is None
    monkeypatch.chdir(run / "tensorboard")
    assert why(run) == f"is or holds the working directory {run / 'tensorboard'}"


def test_overwrite_never_costs_pictures(tiny_run, tmp_path, monkeypatch):
    """As a trial has lost them: --data_dir photos --save_dir . --save_name photos."""
    (tmp_path / "photos/train/cat").mkdir(parents=True)
    (tmp_path / "photos/train/cat/1.jpg").write_bytes(b"a picture")
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    options = tiny_run(save_dir=".", save_name="photos", data_dir="photos")
    for overwrite in (True, False):
        with pytest.raises(UserError) as error:
            train(**options, overwrite=overwrite)
        assert str(error.value) == (
            "the run folder photos exists; --overwrite does not replace it, because it is or holds "
            f"the data_dir {tmp_path / 'photos'}, --save_name NAME takes another"
        )
    assert files(tmp_path) == before


@pytest.mark.parametrize("foreign", [False, True])
def test_overwrite_is_proposed_where_it_is_allowed(run, tiny_run, foreign):
    if foreign:
        (run / "notes.txt").touch()
    way = "take another --save_name" if foreign else "start over with --overwrite"
    for name in ("latest_model.pth", "previous_model.pth"):
        (run / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"bring one of them back, or {way}$"):
        train(**tiny_run(save_name="run", resume=True))
    for name in ("latest_model.pth", "previous_model.pth"):
        (run / name).unlink()
    with pytest.raises(UserError, match=f"to go on from: {way}$"):
        train(**tiny_run(save_name="run", resume=True))
    with pytest.raises(UserError, match=r"exists; --overwrite (does not)?") as error:
        train(**tiny_run(save_name="run"))
    assert ("--overwrite replaces it" in str(error.value)) != foreign
    with pytest.raises(UserError, match=r"to go on from: leave --resume out$"):
        train(**tiny_run(save_name="nothing", resume=True))

"""A checkpoint is used whole and unchanged, or named and replaced by the one before."""

import errno
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter
from torture import unequal

from metasemi_plugin import train
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import checkpoint, files
from metasemi_plugin.run_folder.checkpoint import Unusable
from metasemi_plugin.run_folder.layout import BEST, LATEST, PREVIOUS


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run of 4 iterations with a checkpoint each, and its options."""
    from tiny import TINY_RUN

    options = TINY_RUN | {
        "algorithm": "supervised",
        "save_dir": str(tmp_path_factory.mktemp("runs")),
        "save_name": "run",
        "num_train_iter": 4,
        "num_eval_iter": 4,
        "num_save_iter": 1,
    }
    return Path(train(**options)["folder"]), options


@pytest.fixture
def run(saved, tmp_path):
    """A copy of that folder, and options that resume it."""
    folder, options = saved
    shutil.copytree(folder, tmp_path / "run")
    return tmp_path / "run", options | {"save_dir": str(tmp_path), "resume": True}


def it(path):
    return checkpoint.verified(path)[1]["it"]


def test_the_last_two_and_the_best_are_kept(saved):
    folder, _ = saved
    assert (it(folder / LATEST), it(folder / PREVIOUS), it(folder / BEST)) == (4, 3, 4)
    assert not list(folder.glob("*.part"))


def test_anything_can_read_a_checkpoint(saved):
    path = saved[0] / LATEST
    loaded = torch.load(path, weights_only=True)
    assert loaded["it"] == 4
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"sha256:")


def test_what_is_saved_is_what_is_loaded(tmp_path):
    contents = {"version": checkpoint.VERSION, "x": torch.arange(5.0), "y": [1, 2.5, None, "z"]}
    (tmp_path / "a").write_bytes(checkpoint.to_bytes(contents))
    assert unequal(checkpoint.verified(tmp_path / "a")[1], contents, "") == ""


def test_one_that_is_cut_off_or_changed_anywhere_is_not_used(saved, tmp_path):
    """At every 10 % of its length, and with single bytes changed in 200 places."""
    whole = (saved[0] / LATEST).read_bytes()
    chance = random.Random(0)
    damaged = [whole[: len(whole) * tenths // 10] for tenths in range(10)]
    places = [*chance.sample(range(len(whole)), 190), *range(len(whole) - 80, len(whole), 8)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        damaged.append(bytes(changed))
    path = tmp_path / "damaged.pth"
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(Unusable, match=r"is cut off, or is no|is damaged|was written by an"):
            checkpoint.verified(path)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def foreign(run):
    torch.save({"it": 3, "model": {}}, run / LATEST)


def hostile(run):
    (run / LATEST).write_bytes(
        checkpoint.to_bytes({"version": checkpoint.VERSION, "model": Harmful()})
    )


def older(run):
    contents = checkpoint.verified(run / LATEST)[1] | {"version": 0}
    (run / LATEST).write_bytes(checkpoint.to_bytes(contents))


def other_net(run):
    contents = checkpoint.verified(run / LATEST)[1]
    contents["model"]["classifier.weight"] = torch.zeros(3, 8)
    (run / LATEST).write_bytes(checkpoint.to_bytes(contents))


def without_a_part(run):
    contents = checkpoint.verified(run / LATEST)[1]
    del contents["history"]
    (run / LATEST).write_bytes(checkpoint.to_bytes(contents))


def flipped(run):
    content = bytearray((run / LATEST).read_bytes())
    content[len(content) // 2] ^= 4
    (run / LATEST).write_bytes(content)


def cut(run):
    (run / LATEST).write_bytes((run / LATEST).read_bytes()[:1000])


def gone(run):
    (run / LATEST).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (foreign, "was written by an older version, or by another program"),
        (hostile, "holds more than tensors and plain values"),
        (older, "was written by another version of this program"),
        (other_net, "is not of this run"),
        (without_a_part, "is not of this run ('history')"),
        (flipped, "is damaged"),
        (cut, "is cut off, or is no checkpoint"),
        (gone, "cannot be read (No such file or directory)"),
    ],
)
def test_the_training_goes_on_from_the_previous_one(
    damage, message, saved, run, capsys, monkeypatch
):
    folder, options = run
    monkeypatch.chdir(folder)
    damage(folder)
    train(**options)
    out = capsys.readouterr().out
    assert f"{folder / LATEST} {message}" in out
    assert f": going on from {folder / PREVIOUS}, iteration 3" in out
    assert message in (folder / "log.txt").read_text()
    assert not (folder / "harm").exists()
    for name in (LATEST, BEST):
        one, other = (checkpoint.verified(f / name)[1]["model"] for f in (folder, saved[0]))
        assert unequal(one, other, name) == ""
    # What could not be used did not take the place of what could.
    assert it(folder / PREVIOUS) == 3
    assert (folder / f"{LATEST}.unusable").exists() == (damage is not gone)


def test_never_from_scratch_unless_told_to(run):
    folder, options = run
    cut(folder)
    (folder / PREVIOUS).write_bytes(b"")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(UserError) as error:
        train(**options)
    assert f"{folder / LATEST} is cut off" in str(error.value)
    assert f"{folder / PREVIOUS} is cut off" in str(error.value)
    assert "start over with --overwrite" in str(error.value)
    assert all((folder / name).read_bytes() == content for name, content in before.items()
               if name != ".lock")  # fmt: skip


def test_other_settings_than_it_was_begun_with_are_refused(run):
    _, options = run
    with pytest.raises(UserError, match=r"was begun with lr 0\.1, not 0\.2; seed 3, not 4: resume"):
        train(**options | {"lr": 0.2, "seed": 4})
    assert train(**options | {"num_workers": 1, "num_log_iter": 1})["iterations"] == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [4, 8]),
        ({"num_save_iter": 3}, [3, 6, 8]),
        ({"save_minutes": 2.0}, [2, 4, 6, 8]),
        ({"num_save_iter": 7, "save_minutes": 2.5}, [3, 6, 7, 8]),
    ],
)
def test_intervals(tiny_run, monkeypatch, changes, expected):
    """By evaluations, iterations, or minutes, of which one passes here at each look."""
    minutes = iter(range(0, 1000, 60))
    monkeypatch.setattr("metasemi_plugin.run_folder.record.time.monotonic", lambda: next(minutes))
    seen = []
    write = checkpoint.write_latest

    def noting(folder, content):
        write(folder, content)
        seen.append(it(folder / LATEST))

    monkeypatch.setattr(checkpoint, "write_latest", noting)
    train(**tiny_run("supervised", num_train_iter=8, num_eval_iter=4, save_name="run", **changes))
    assert seen == expected


@pytest.fixture
def full(monkeypatch):
    """full(name, calls): those of the writes to files of that name (from 0) meet a full disk."""

    def full(name, calls):
        replace, count = files.replace, [0]

        def refusing(path, *chunks, **more):
            if path.name == name:
                count[0] += 1
                if count[0] - 1 in calls:
                    path.with_name(path.name + ".part").write_bytes(b"half")
                    raise OSError(errno.ENOSPC, "No space left on device")
            replace(path, *chunks, **more)

        monkeypatch.setattr(files, "replace", refusing)

    return full


@pytest.mark.parametrize("name", [LATEST, BEST, "run.json"])
def test_a_full_disk_costs_no_training(saved, tiny_run, full, capsys, name):
    _, options = saved
    first = 1 if name == "run.json" else 0  # run.json is written before the training, too
    full(name, range(first, first + (1 if name == BEST else 2)))
    changes = {"num_eval_iter": 2} if name == BEST else {}
    run = train(**options | {"save_dir": tiny_run()["save_dir"]} | changes)
    out = capsys.readouterr().out
    assert out.count("No space left on device") == 1
    assert "the training goes on, and tries again at each interval" in out
    assert out.count("again, iteration") == 1
    one, other = (checkpoint.verified(f / LATEST)[1] for f in (Path(run["folder"]), saved[0]))
    assert unequal(one["model"], other["model"], "") == ""
    assert unequal(one["optimizer"], other["optimizer"], "") == ""


def test_a_disk_that_is_full_at_the_end_is_an_error(saved, tiny_run, full):
    _, options = saved
    full(LATEST, [3])
    options = options | {"save_dir": tiny_run()["save_dir"]}
    with pytest.raises(UserError, match=r"No space left .* at the end.* of iteration 3"):
        train(**options)
    assert train(**options, resume=True)["iterations"] == 4


def test_metrics_that_met_a_full_disk_are_written_later(saved, tiny_run, monkeypatch):
    """Half a line that was left is overwritten."""
    from metasemi_plugin.run_folder.record import RunRecord

    write, count = RunRecord.write_lines, [0]

    def failing(self):
        count[0] += 1
        if count[0] in (1, 2):
            with open(self.folder / "metrics.jsonl", "a") as file:
                file.write(self.unwritten[0][:7])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self)

    monkeypatch.setattr(RunRecord, "write_lines", failing)
    options = saved[1] | {"save_dir": tiny_run()["save_dir"], "num_eval_iter": 1}
    folder = Path(train(**options)["folder"])
    from torture import metrics

    assert [line["it"] for line in metrics(folder)] == [1, 2, 3, 4]


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.replace(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
    files.replace(tmp_path / "a", b"n", b"ew")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="linux: /dev/full")
def test_a_really_full_disk(tiny_run, capsys):
    """The log and the curves on a device that is full; the run folder's own files are spared."""
    options = tiny_run("supervised", save_name="run", use_tensorboard=True)
    folder = Path(options["save_dir"]) / "run"

    from metasemi_plugin.host import runner

    begin = runner._begin

    def with_full_log(*args):
        result = begin(*args)
        (folder / "log.txt").symlink_to("/dev/full")
        patch.setattr(RecordWriter, "write", full_disk)
        return result

    def full_disk(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_begin", with_full_log)
        assert train(**options)["iterations"] == 6
    said = capsys.readouterr()
    assert "Logging error" not in said.err
    assert "Traceback" not in said.err
    assert said.out.count("no more curves: OSError: [Errno 28] No space left on device") == 1


def test_advice_on_a_full_disk_can_be_followed(saved, tiny_run, full):
    """Nothing was ever saved: there is nothing to resume."""
    full(LATEST, range(4))
    with pytest.raises(UserError, match=r"There is no checkpoint yet\. .* start over with --over"):
        train(**saved[1] | {"save_dir": tiny_run()["save_dir"]})


@pytest.mark.parametrize("where", ["folder", "parent"])
def test_a_folder_that_cannot_be_written_is_named(tiny_run, tmp_path, where):
    (tmp_path / "file").touch()
    changes = {"save_name": "file"} if where == "folder" else {"save_dir": str(tmp_path / "file")}
    with pytest.raises(UserError, match=r"cannot write to the run folder .*file.*--save_dir"):
        train(**tiny_run("supervised", **changes))


def test_random_numbers_are_plain_values(saved):
    contents = checkpoint.verified(saved[0] / LATEST)[1]["random"]
    assert isinstance(contents["numpy"][1], torch.Tensor)
    assert not any(isinstance(value, np.generic) for value in contents["numpy"])

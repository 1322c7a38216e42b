"""Runs of several processes: one folder, one end, the numbers of one process."""

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import several
import torch
from processes import on_ranks
from tiny import TINY_RUN

from metasemi_plugin.distributed import torchrun
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.views import supported_algorithms

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(tmp_path):
    changes = {"save_dir": str(tmp_path), "save_name": "run", "num_save_iter": 2}
    return several.RUN | {"algorithm": "metasemi", **changes}


@pytest.fixture
def straight(options):
    """The weights of a run of two processes without a break."""
    one, other = on_ranks(2, several.run, options | {"save_name": "straight"})
    assert one == other
    return several.saved(one["folder"])["model"]


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(value, b[name]) for name, value in a.items())


def read(folder):
    return json.loads((Path(folder) / "run.json").read_text())


def test_one_folder_one_record_one_voice(options, straight, tmp_path):
    folder = tmp_path / "straight"
    files = {path.name for path in folder.iterdir()}
    assert {"run.json", "metrics.jsonl", "config.yaml", "log.txt", "latest_model.pth"} <= files
    assert read(folder)["hardware"]["processes"] == 2
    assert (read(folder)["sittings"], read(folder)["status"]) == (1, "complete")
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    assert (folder / "log.txt").read_text().count("iterations 0 to 10") == 1
    for answer in on_ranks(2, several.run, options | {"save_name": "straight"}):
        assert "straight exists; --resume continues it" in answer


def test_a_killed_process_ends_the_others_and_a_resume_loses_nothing(options, straight, tmp_path):
    began = time.monotonic()
    event = functools.partial(several.killed, rank=1, at=5)
    answer, _ = on_ranks(2, several.run, options, event, dead=(1,))
    assert time.monotonic() - began < 30
    assert answer.startswith("Gone: another process of this run has ended: the run stands at it")
    assert "iteration 5; the same command with --resume goes on" in answer
    assert (read(tmp_path / "run")["status"], several.saved(tmp_path / "run")["it"]) == (
        "failed",
        4,
    )
    for summary in on_ranks(2, several.run, options | {"resume": True}):
        assert summary["iterations"] == 10
    assert read(tmp_path / "run")["sittings"] == 2
    assert same(several.saved(tmp_path / "run")["model"], straight)


def test_torchrun_starts_it_again(options, straight, tmp_path):
    words = [word for k, v in (options | {"net": "several:deadly_net"}).items()
             for word in (f"--{k}", str(v))]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node", "2", "--max-restarts", "1", str(ROOT / "train.py")]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("another process of this run has ended: the run stands at it") == 1
    assert done.stdout.count("run folder: ") == 1
    assert read(tmp_path / "run")["sittings"] == 2
    assert done.stdout.count("iterations 0 to 10") == done.stdout.count("iterations 6 to 10") == 1
    assert same(several.saved(tmp_path / "run")["model"], straight)


def test_multiprocessing_distributed_starts_them(options, straight, monkeypatch):
    from metasemi_plugin import train

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    started = {"multiprocessing_distributed": True, "world_size": 2}
    run = train(**options, **started)
    assert same(several.saved(run["folder"])["model"], straight)
    with pytest.raises(UserError, match="run exists; --resume continues it"):
        train(**options, **started)


def test_a_signal_to_one_stops_all_and_another_number_goes_on(options, tmp_path):
    """Two processes stop after iteration 5; four go on, and then one."""
    options |= {"algorithm": "ict"}
    one = several.run(options | {"save_name": "one"})
    for it, count in ((4, 2), (7, 4)):
        event = functools.partial(several.signalled, rank=count - 1, at=it)
        for answer in on_ranks(count, several.run, options | {"resume": it > 4}, event):
            assert answer.startswith(
                f"Interrupted: stopped and saved at iteration {it + 1}; resume"
            )
    assert several.run(options | {"resume": True})["iterations"] == 10
    weights = (several.saved(folder)["model"] for folder in (one["folder"], tmp_path / "run"))
    for name, a, b in zip(
        several.net(10).state_dict(), *(w.values() for w in weights), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)
    assert read(tmp_path / "run")["sittings"] == 3


def test_rank_0_speaks(monkeypatch):
    assert torchrun.speaks()
    for rank in (0, 1):
        for name, value in zip(torchrun.TORCHRUN, (rank, 2, rank, "here", 1), strict=True):
            monkeypatch.setenv(name, str(value))
        assert torchrun.speaks() == torchrun.speaks(UserError("bad input")) == (rank == 0)
        assert not torchrun.speaks(torchrun.Gone("has been said"))


def test_one_that_waits_in_vain_is_not_deaf():
    assert on_ranks(2, several.stuck, dead=(0,), seconds=30) == [None, None]


def test_bad_numbers_on_one_are_bad_on_all():
    options = several.RUN | {"algorithm": "metasemi"}
    event = functools.partial(several.poisoned, rank=1, at=3)
    one, other = on_ranks(2, several.trained, options, event)
    assert (one["bad"], other["bad"]) == (1, 1)
    assert all(p.isfinite().all() for p in one["parameters"].values())
    assert same(one["parameters"], other["parameters"])


@pytest.mark.parametrize("net", ["several:net", "tiny:net"])
def test_an_odd_number_of_images_is_evaluated_once_each(net):
    """101 images to validate on; the last batch is one image, so that a process has none."""
    options = several.RUN | {"algorithm": "supervised", "num_val": 101, "eval_batch_size": 50}
    options |= {"net": net}
    one = several.evaluated(options)
    assert one["eval/logits"].shape == (101, 10)
    for count in (2, 4):
        for found in on_ranks(count, several.evaluated, options):
            logits, expected = found.pop("eval/logits"), one["eval/logits"]
            assert logits == pytest.approx(expected, rel=1e-5, abs=1e-6)
            for key, value in found.items():
                exact = not key.endswith("loss")
                assert value == (one[key] if exact else pytest.approx(one[key], rel=1e-6)), key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 9}, "batch_size: 9 cannot be split evenly over 2 processes: use 8 or 10"),
        ({"meta_gradient": "unrolled"}, "meta_gradient: unrolled takes one process"),
        ({"device": "cuda:0"}, "device: "),
        ({"net": "no_such:net"}, "net: cannot import"),
        ({"resume": True}, "there is no checkpoint"),
    ],
)
def test_all_say_what_is_wrong(options, changes, message):
    one, other = on_ranks(2, several.run, options | changes)
    assert message in one
    assert one == other


def test_every_algorithm_trains_and_all_stay_alike():
    options = TINY_RUN | {"num_train_iter": 2, "num_eval_iter": 2, "p_cutoff": 0.0}
    names = supported_algorithms()
    with_cutoff = {"fixmatch", "flexmatch", "pseudolabel", "uda"}
    for some, changes in (
        ([n for n in names if n in with_cutoff], options),
        ([n for n in names if n not in with_cutoff],
         {k: v for k, v in options.items() if k != "p_cutoff"}),
    ):  # fmt: skip
        one, other = on_ranks(2, several.trained, changes, None, some)
        for name, a, b in zip(some, one, other, strict=True):
            assert same(a["parameters"], b["parameters"]), name
            assert same(a["kept"], b["kept"]), name

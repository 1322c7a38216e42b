import argparse
import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metasemi_plugin import train
from metasemi_plugin.cli.train import report
from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.data import DATASETS
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve
from metasemi_plugin.run_folder import environment, record
from metasemi_plugin.run_folder.lock import holder, locked
from metasemi_plugin.run_folder.state import RunState


def read(folder):
    return json.loads((Path(folder) / "run.json").read_text())


def lines(folder, without=("seconds", "train/prefetch_time")):
    text = (Path(folder) / "metrics.jsonl").read_text()
    return [
        {k: v for k, v in json.loads(line).items() if k not in without}
        for line in text.splitlines()
    ]


def test_a_run_leaves_a_record(tiny_run):
    options = tiny_run(num_val=100, num_eval_iter=2, save_name="run")
    summary = train(**options)
    run, course = read(summary["folder"]), lines(summary["folder"], without=())
    assert (run["schema"], run["status"], run["error"]) == (1, "complete", None)
    named = {k: run[k] for k in ("algorithm", "dataset", "num_labels", "net", "seed")}
    assert list(named.values()) == ["metasemi", "digits", 40, "tiny:net", 3]
    args = vars(resolve(None, options))
    assert run["config"] == {k: v for k, v in args.items() if k not in CALL_OPTIONS}
    assert (run["iterations"], run["num_train_iter"], run["sittings"]) == (6, 6, 1)
    assert run["started"] <= run["ended"]
    assert 0 < run["seconds_per_iteration"] < run["seconds"]
    assert run["peak_memory_mb"] > 100
    assert run["versions"]["torch"] == torch.__version__.split("+")[0]
    assert run["hardware"] | {"name": "", "memory_gb": 0.0} == {
        "device": "cpu",
        "name": "",
        "cores": len(os.sched_getaffinity(0)),
        "threads": 1,
        "memory_gb": 0.0,
        "processes": 1,
    }

    assert [line["it"] for line in course] == [2, 4, 6]
    assert all(a["seconds"] < b["seconds"] for a, b in itertools.pairwise(course))
    assert course[-1]["seconds"] <= run["seconds"]
    best = min(course, key=lambda line: line["eval"])
    assert run["chosen_on"] == "validation"
    for part in ("eval", "test"):
        assert run[part] == {
            "last": course[-1][part],
            "best": best[part],
            "best_iteration": best["it"],
            "median_last_20": float(np.median([line[part] for line in course])),
        }
    assert {"train/kept", "lr", "eval/loss"} <= set(course[0])
    assert summary["last_error"] == run["test"]["last"]

    positions = np.load(Path(summary["folder"]) / "split.npz")
    assert run["split"]["file"] == "split.npz"
    assert {part: len(positions[part]) for part in positions} == {
        "train_lb": 40, "train_ulb": 1337, "eval": 100, "test": 360,
    }  # fmt: skip


def test_without_validation_images_both_are_the_test_set(tiny_run):
    run = read(train(**tiny_run(save_name="run"))["folder"])
    assert run["chosen_on"] == "test"
    assert run["test"] == run["eval"]


def test_without_test_images_no_number_is_a_test_error(tiny_run, monkeypatch, capsys):
    digits = DATASETS["digits"]
    monkeypatch.setitem(DATASETS, "digits", lambda *args: digits(*args)._replace(test=None))
    summary = train(**tiny_run(save_name="run", num_val=100, use_tensorboard=True))
    run, course = read(summary["folder"]), lines(summary["folder"])
    assert (run["chosen_on"], run["test"]) == ("validation", None)
    assert run["eval"]["last"] == course[-1]["eval"] == course[-1]["validation/error"]
    assert not any("test" in key for line in course for key in line)
    assert summary["last_validation_error"] == course[-1]["eval"]
    assert summary["best_iteration"] == run["eval"]["best_iteration"]
    assert [v for k, v in summary.items() if k.endswith("_error") and "validation" not in k] == [
        None, None, None,
    ]  # fmt: skip
    said = capsys.readouterr().out + report(summary)
    assert "validation error best" in said
    assert f"validation error: last {course[-1]['eval']:.2f} %, median of the last 20" in said
    assert "test error" not in said
    assert {"validation/error", "eval/top-1-acc"} <= curves(summary["folder"])
    assert not any(tag.startswith("test") for tag in curves(summary["folder"]))


def curves(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(Path(folder) / "tensorboard"))
    found.Reload()
    return set(found.Tags()["scalars"])


def test_each_error_is_logged_as_what_it_is(tiny_run):
    folder = train(**tiny_run(save_name="run", num_val=100, use_tensorboard=True))["folder"]
    assert {"validation/error", "test/error"} <= curves(folder)
    folder = train(**tiny_run(save_name="other", use_tensorboard=True))["folder"]
    assert {tag for tag in curves(folder) if "error" in tag} == {"test/error"}


def test_the_split_is_identified(tiny_run):
    def split(**changes):
        return read(train(**tiny_run("supervised", num_train_iter=1, **changes))["folder"])["split"]

    one, two = split(save_name="a"), split(save_name="b", lr=0.2)
    assert one == two
    assert split(save_name="c", seed=4)["hash"] != one["hash"]


def test_a_failure_is_noted_in_one_line(tiny_run, stop, tmp_path):
    stop(4, RuntimeError("it broke\nin two lines"))
    with pytest.raises(RuntimeError):
        train(**tiny_run(save_name="run"))
    run = read(tmp_path / "run")
    assert (run["status"], run["error"]) == ("failed", "RuntimeError: it broke")
    assert (run["iterations"], run["eval"]["last"]) == (3, lines(tmp_path / "run")[0]["eval"])
    assert run["ended"] is not None


def test_an_early_end_has_no_errors_to_show(tiny_run, stop, tmp_path):
    stop(0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(**tiny_run(save_name="run"))
    run = read(tmp_path / "run")
    assert (run["status"], run["error"], run["iterations"]) == ("interrupted", None, 0)
    assert run["eval"] is run["test"] is run["chosen_on"] is None
    assert lines(tmp_path / "run") == []


def test_a_resumed_run_has_the_record_of_one_that_never_stopped(tiny_run, stop, tmp_path):
    straight = Path(train(**tiny_run(save_name="straight", num_eval_iter=2))["folder"])
    folder = tmp_path / "cut"
    stop(5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(**tiny_run(save_name="cut", num_eval_iter=2))
    first = read(folder)
    assert (first["status"], first["iterations"], first["seconds"] > 0) == ("interrupted", 4, True)
    # As if it had been killed between a line and its checkpoint, in the middle of a line.
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"it": 6, "eval": 0.0}\n{"it": 6, "ev')
    stop(7, None)
    train(**tiny_run(save_name="cut", num_eval_iter=2, resume=True))
    run = read(folder)
    assert lines(folder) == lines(straight)
    assert (run["status"], run["sittings"], run["started"]) == ("complete", 2, first["started"])
    course = lines(folder, without=())
    assert course[1]["seconds"] < course[2]["seconds"] <= run["seconds"]
    same = ("chosen_on", "eval", "test", "iterations", "split", "error")
    assert {k: run[k] for k in same} == {k: read(straight)[k] for k in same}


def test_data_that_have_changed_are_refused(tiny_run, stop, monkeypatch):
    stop(4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(**tiny_run(save_name="run"))
    stop(7, None)
    digits = DATASETS["digits"]

    def one_pixel_off(args, ulb_views):
        splits = digits(args, ulb_views)
        splits.eval.images.arrays[-1][0, 0, 0] ^= 1
        return splits

    monkeypatch.setitem(DATASETS, "digits", one_pixel_off)
    with pytest.raises(UserError, match=r"the data of the run .* have changed"):
        train(**tiny_run(save_name="run", resume=True))


def test_a_line_holds_means_over_the_iterations_since_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(record.RunRecord, "state", lambda self: {"seconds": 1.5})
    kept = record.RunRecord.__new__(record.RunRecord)
    kept.folder, kept.logged, kept.durations, kept.last = tmp_path, {}, [], 0.0
    kept.logged = record.defaultdict(list)
    kept.unwritten, kept.written = [], 0
    (tmp_path / record.METRICS).touch()
    state = RunState(history=[{"it": 2, "eval": 4.0}])
    kept.algorithm = SimpleNamespace(run_state=state)
    for line, evaluated in (
        ({"train/kept": 0.25, "lr": 2.0, "train/seldom": 7}, False),
        ({"train/kept": 0.75, "lr": 1.0, "train/bad": float("nan"), "text": "x"}, True),
        ({"train/kept": np.float32(0.5)}, True),
    ):
        state.log.lines.append(line)
        kept.log(evaluated)
        kept.write_lines()
        assert state.log.lines == []
    first = {"it": 2, "seconds": 1.5, "eval": 4.0, "train/kept": 0.5, "lr": 1.0}
    first |= {"train/seldom": 7.0}
    second = {"it": 2, "seconds": 1.5, "eval": 4.0, "train/kept": 0.5}
    assert lines(tmp_path, without=()) == [first, second]
    assert len(kept.durations) == 1


def test_the_best_is_chosen_on_eval_and_read_off_test():
    history = [{"it": i, "eval": abs(i - 25), "test": 100 - i} for i in range(1, 31)]
    found = record.results(history, "validation")
    assert found["eval"] == {
        "last": 5, "best": 0, "best_iteration": 25, "median_last_20": 5.0,
    }  # fmt: skip
    assert found["test"] == {
        "last": 70, "best": 75, "best_iteration": 25, "median_last_20": 79.5,
    }  # fmt: skip
    # The first of equals, as the host chooses it, and the median of fewer than 20.
    equals = [{"it": 1, "eval": 5.0, "test": 9.0}, {"it": 2, "eval": 5.0, "test": 4.0}]
    found = record.results(equals, "validation")["test"]
    assert (found["best"], found["best_iteration"], found["median_last_20"]) == (9.0, 1, 6.5)


def test_the_packages_own_commit_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "run_folder/environment.py"))
    assert environment.checkout() == {"commit": None, "dirty": None}


def test_one_process_a_folder(tiny_run, tmp_path):
    folder = tmp_path / "run"
    assert holder(folder) is None
    (tmp_path / "other").mkdir()
    assert holder(tmp_path / "other") is None
    assert list((tmp_path / "other").iterdir()) == []
    with locked(folder):
        assert holder(folder) == str(os.getpid())
        with (
            pytest.raises(UserError, match=f"run is in use by process {os.getpid()}"),
            locked(folder),
        ):
            pass
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            train(**tiny_run(save_name="run"))
    assert holder(folder) is None
    # A folder with nothing but its lock is free.
    assert train(**tiny_run(save_name="run"))["iterations"] == 6


def test_namespace_of_the_config_is_not_the_algorithms(tiny_run):
    """The host writes into its arguments; the record has what was asked for."""
    run = read(train(**tiny_run(save_name="run"))["folder"])
    assert "lb_dest_len" not in run["config"]
    assert argparse.Namespace(**run["config"]).gpu == resolve(None, tiny_run()).gpu

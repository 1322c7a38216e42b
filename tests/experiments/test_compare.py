import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import metasemi_plugin
from metasemi_plugin.cli import compare as compare_command
from metasemi_plugin.data import DATASETS
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments import compare, execute
from metasemi_plugin.experiments.compare import make, suite_of
from metasemi_plugin.experiments.executors import Processes
from metasemi_plugin.experiments.records import read
from metasemi_plugin.run_folder.lock import locked

BOTH = ["tiny_supervised_seed0", "tiny_metasemi_seed0"]
TIMES = ["seconds", "train/prefetch_time"]


@pytest.fixture
def command(inside, monkeypatch, suite, tmp_path):
    """command(*words): the exit status of compare on the suite, which runs in this process."""
    monkeypatch.setattr(compare_command, "Processes", lambda jobs: inside)

    def command(*words):
        suite()
        words = (str(tmp_path / "suite.yaml"), "--save_dir", str(tmp_path / "runs"), *words)
        return compare_command.main(list(words))

    return command


def outcome(suite):
    """What the records of a suite say, but for times."""
    found = {}
    for run in suite.runs:
        record = read(run.folder)
        kept = ("status", "iterations", "chosen_on", "eval", "test", "split")
        course = record.metrics.drop(columns=TIMES).to_dict("records")
        found[run.args.save_name] = [*(record.run[k] for k in kept), course]
    return found


def test_without_test_images_it_ends_as_well(command, inside, capsys, monkeypatch):
    digits = DATASETS["digits"]
    monkeypatch.setitem(DATASETS, "digits", lambda *args: digits(*args)._replace(test=None))
    assert command("--seeds", "0", "--num_val", "100") == 0
    assert "complete: tiny, metasemi, seed 0: " in capsys.readouterr().out


def test_what_is_missing_is_made_once(command, inside, suite, capsys):
    assert command("--seeds", "0", "1") == 0
    made = [f"tiny_{row}_seed{seed}" for row in ("supervised", "metasemi") for seed in (0, 1)]
    assert inside.steps == [(name, "train") for name in made]
    assert {read(run.folder).status for run in suite(seeds=(0, 1)).runs} == {"complete"}
    out = capsys.readouterr().out
    assert "train: tiny, supervised, seed 0\n" in out
    assert "complete: tiny, metasemi, seed 1: " in out
    assert "[4/4 runs, 00:00 left]" in out
    assert out.endswith("suite: 4 of 4 runs are complete\n")

    assert command("--seeds", "0", "1", "2") == 0
    assert inside.steps[4:] == [(f"tiny_{n}_seed2", "train") for n in ("supervised", "metasemi")]
    capsys.readouterr()
    assert command("--seeds", "0", "1", "2") == 0
    assert capsys.readouterr().out == "suite: all 6 runs are complete; nothing to do\n"
    assert len(inside.steps) == 6


def test_a_dry_run_lists(command, inside, suite, capsys, tmp_path):
    make(suite(["supervised"]), inside, 1)
    capsys.readouterr()
    assert command("--seeds", "0", "--dry-run") == 0
    runs = tmp_path / "runs"
    assert capsys.readouterr().out.splitlines() == [
        f"done   tiny, supervised, seed 0, 6 iterations: {runs}/tiny_supervised_seed0",
        f"train  tiny, metasemi, seed 0, 6 iterations: {runs}/tiny_metasemi_seed0",
        "suite: 2 runs, 1 complete, 1 to make",
    ]
    assert len(inside.steps) == 1


def test_other_settings_are_refused_before_anything_starts(command, inside, tmp_path):
    assert command("--seeds", "0") == 0
    with pytest.raises(UserError) as error:
        command("--seeds", "0", "1", "--lr", "0.2")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(
        "tiny_supervised_seed0 was made with other settings: lr (0.1, now 0.2): "
        "--overwrite replaces it, --name NAME makes new runs"
    )
    assert len(inside.steps) == 2
    assert command("--seeds", "0", "--lr", "0.2", "--overwrite") == 0
    assert inside.steps[2:] == [(name, "start over") for name in BOTH]
    assert command("--seeds", "0", "--lr", "0.2", "--overwrite") == 0
    assert len(inside.steps) == 4


def test_a_failure_does_not_stop_the_rest(command, inside, stop, capsys, tmp_path, suite):
    stop(4, RuntimeError("it broke"), "supervised")
    assert command("--seeds", "0") == 1
    assert [name for name, _ in inside.steps] == BOTH
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "suite: 1 of 2 runs are complete",
        "failed: tiny, supervised, seed 0: RuntimeError: it broke",
        f"  log: {tmp_path}/runs/tiny_supervised_seed0.log",
    ]
    stop(7, None)
    assert command("--seeds", "0") == 0
    assert inside.steps[2:] == [("tiny_supervised_seed0", "resume")]
    out = capsys.readouterr().out
    assert out.startswith("resume: tiny, supervised, seed 0: failed after iteration 3\n")
    # As if it had not failed.
    whole = suite(save_dir=str(tmp_path / "whole"))
    make(whole, inside, 1)
    assert outcome(suite()) == outcome(whole)


def test_a_run_that_never_began_says_why_in_its_log(suite, inside, capsys):
    (failure,) = make(suite(["supervised"], net="tiny:nothing"), inside, 1)
    assert failure.why.startswith("error: net: cannot import")
    assert str(failure.log) in capsys.readouterr().out


def test_a_run_that_another_process_is_at_is_waited_for(suite, inside, monkeypatch):
    both = suite()
    folder = both.runs[0].folder
    lock = locked(folder)
    lock.__enter__()
    (folder / "run.json").write_text("{}")
    looks = []

    def look(seconds):
        looks.append(list(inside.steps))
        if len(looks) == 3:
            (folder / "run.json").unlink()
            lock.__exit__(None, None, None)

    # Of this module alone: filelock sleeps, too.
    monkeypatch.setattr(execute, "time", SimpleNamespace(**vars(time) | {"sleep": look}))
    assert make(both, inside, 1) == []
    assert inside.steps == [(name, "train") for name in reversed(BOTH)]
    assert looks[2] == [(BOTH[1], "train")]


class Endless:
    """An executor whose runs never end; Ctrl-C comes as the third look is taken."""

    stays_in_queue = False

    def __init__(self):
        self.started, self.stopped, self.looks = [], [], 0

    def start(self, run, step):
        executor = self

        class Started:
            log = Path("x.log")

            def ended(self):
                executor.looks += 1
                if executor.looks == 5:
                    raise KeyboardInterrupt
                return False

            def stop(self):
                executor.stopped.append(run.args.save_name)

            def wait(self, seconds):
                executor.stopped.append("waited")

        self.started.append(run.args.save_name)
        return Started()


def test_ctrl_c_stops_all_runs_under_way(command, monkeypatch, capsys):
    endless = Endless()
    monkeypatch.setattr(compare_command, "Processes", lambda jobs: endless)
    monkeypatch.setattr(execute.time, "sleep", lambda seconds: None)
    assert command("--seeds", "0", "1", "--jobs", "2") == 130
    two = ["tiny_supervised_seed0", "tiny_supervised_seed1"]
    assert endless.started == two
    assert endless.stopped == [*two, "waited", "waited"]
    out = capsys.readouterr()
    assert "stopping: 2 runs" in out.out
    assert "the same command goes on" in out.err


def test_one_bar_over_all_runs_where_there_is_a_terminal(suite, inside, capsys, monkeypatch):
    both = suite()
    make(both, inside, 1, False)
    (both.runs[1].folder / "run.json").write_text(
        json.dumps(read(both.runs[1].folder).run | {"status": "interrupted", "iterations": 3})
    )
    capsys.readouterr()
    monkeypatch.setattr(execute.sys.stderr, "isatty", lambda: True)
    make(both, inside, 1)
    bar = capsys.readouterr().err
    assert "1/2 runs:  75%" in bar
    assert "9/12 [" in bar
    assert "2/2 runs: 100%" in bar


def test_each_run_under_way_has_a_bar_with_its_error(suite, capsys, monkeypatch):
    two = suite(seeds=(0, 1))
    monkeypatch.setattr(execute.sys.stderr, "isatty", lambda: True)
    with execute.Progress(two.runs) as progress:
        progress.began(two.runs[2])
        assert "tiny, metasemi, seed 0:   0%" in capsys.readouterr().err
        folder = two.runs[2].folder
        folder.mkdir(parents=True)
        said = {"status": "running", "iterations": 2, "chosen_on": "validation", "test": None}
        (folder / "run.json").write_text(json.dumps(said | {"eval": {"last": 12.345}}))
        progress.look(now=True)
        shown = capsys.readouterr().err
    assert "0/4 runs:   8%" in shown
    assert "tiny, metasemi, seed 0:  33%" in shown
    assert "validation error 12.35 %" in shown


def test_from_python(suite, inside, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "Processes", lambda jobs: inside)
    suite()
    configs = [tmp_path / "supervised.yaml", tmp_path / "metasemi.yaml"]
    runs = str(tmp_path / "mine")
    found = metasemi_plugin.compare(configs, seeds=(1,), jobs=2, save_dir=runs, num_train_iter=3)
    assert [record.status for record in found] == ["complete"] * 2
    assert [record.run["algorithm"] for record in found] == ["supervised", "metasemi"]
    assert found[0].run["iterations"] == 3
    assert found[0].folder == tmp_path / "mine/digits-40_supervised_seed1"


def test_where_the_runs_go(suite, tmp_path):
    suite()
    path, config = tmp_path / "suite.yaml", tmp_path / "metasemi.yaml"
    assert {run.args.save_dir for run in suite_of([path], [0], "x", {}).runs} == {"saved_models/x"}
    assert suite_of([path], [0], "x", {}).name == "x"
    assert suite_of([config], [0], None, {}).runs[0].args.save_dir == "saved_models/compare"
    with pytest.raises(UserError, match=r"suite.yaml is a suite: name it alone"):
        suite_of([config, path], [0], None, {})


def test_killed_and_called_again_it_ends_as_if_never_killed(suite, inside, tmp_path, monkeypatch):
    """A process and SIGKILL. compare itself keeps nothing, so that its own death costs nothing."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in this process: sums have one order
    long = {"num_train_iter": 200, "num_eval_iter": 10, "num_log_iter": 100}
    cut = suite(**long)
    make(cut._replace(runs=cut.runs[:1]), inside, 1)
    folder = cut.runs[1].folder
    process = Processes(1).start(cut.runs[1], "train")
    try:
        while len(read(folder).metrics) < 2:
            assert not process.ended(), process.log.read_text()
            time.sleep(0.01)
    finally:
        process.process.kill()
        process.wait(60)
    assert read(folder).status == "cut off"

    assert make(cut, inside, 1) == []
    assert inside.steps == [(BOTH[0], "train"), (BOTH[1], "resume")]
    assert read(folder).run["sittings"] == 2
    whole = suite(save_dir=str(tmp_path / "whole"), **long)
    make(whole, inside, 1)
    assert outcome(cut) == outcome(whole)

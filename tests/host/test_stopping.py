"""Ctrl-C and SIGTERM end a run at a checkpoint; a second one ends it at once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torture import difference

from metasemi_plugin import train
from metasemi_plugin.cli import train as command_line
from metasemi_plugin.errors import Interrupted
from metasemi_plugin.host.hooks import WallClockHook
from metasemi_plugin.host.stopping import stopping_on_signals


@pytest.fixture
def signal_at(monkeypatch):
    """signal_at(it, number): sent in the middle of that iteration."""

    def signal_at(it, number):
        def send(self, algorithm):
            if algorithm.it == it:
                os.kill(os.getpid(), number)
            self.prefetch_time = 0.0

        monkeypatch.setattr(WallClockHook, "before_train_step", send)

    return signal_at


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_step_is_finished_and_saved(tiny_run, signal_at, tmp_path, number):
    """One past an evaluation, two before the next: what is logged in between is not lost."""
    options = tiny_run("freematch", num_train_iter=8, num_eval_iter=4)
    straight = Path(train(**options, save_name="straight")["folder"])
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    signal_at(4, number)
    with pytest.raises(Interrupted) as stopped:
        train(**options, save_name="cut")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert "stopped and saved at iteration 5; resume with: " in str(stopped.value)
    run = json.loads((tmp_path / "cut/run.json").read_text())
    assert (run["status"], run["error"], run["iterations"]) == ("interrupted", None, 5)
    # Resumed as it says
    command = str(stopped.value).split("resume with: ")[1].split()
    assert command[:4] == ["python", "-m", "metasemi_plugin", "train"]
    signal_at(99, number)
    assert command_line.main(command[4:]) == 0
    (tmp_path / "cut/previous_model.pth").write_bytes(
        (straight / "previous_model.pth").read_bytes()
    )  # of iteration 5
    assert difference(straight, tmp_path / "cut") == ""


def test_the_command_line_exits_with_0(tiny_run, signal_at, capsys):
    signal_at(1, signal.SIGTERM)
    options = tiny_run("supervised", save_name="run")
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert command_line.main(words) == 0
    assert "resume with: python -m metasemi_plugin train --c " in capsys.readouterr().out


def test_in_the_last_step_it_changes_nothing(tiny_run, signal_at):
    signal_at(5, signal.SIGINT)
    assert train(**tiny_run("supervised", save_name="run"))["iterations"] == 6


def test_a_second_one_kills():
    code = """
import os, signal
from types import SimpleNamespace
from metasemi_plugin.host.stopping import stopping_on_signals
run = SimpleNamespace(stop_requested=False)
with stopping_on_signals(run):
    os.kill(os.getpid(), signal.SIGTERM)
    print(run.stop_requested, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never", flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "True\n")


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone():
    from concurrent.futures import ThreadPoolExecutor

    def inside():
        with stopping_on_signals(None):
            return signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == before

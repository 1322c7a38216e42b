import os
import signal
import subprocess
import sys
import time

import pytest

from metasemi_plugin.experiments import executors
from metasemi_plugin.experiments.executors import Processes, _Process, stop

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(60)"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + SLEEPER


def python(code, log):
    return _Process([sys.executable, "-c", code], log, dict(os.environ))


def until(true):
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it took too long")


def test_messages_of_all_sittings_go_to_the_log(tmp_path):
    log = tmp_path / "runs/one.log"
    for stream in ("stdout", "stderr"):
        started = python(f"import sys\nprint({stream!r}, file=sys.{stream})", log)
        until(started.ended)
    assert log.read_text().split() == ["stdout", "stderr"]


@pytest.mark.parametrize("code", [SLEEPER, STUBBORN])
def test_stopping_is_asked_for_and_then_made(code, tmp_path):
    both = [python(code, tmp_path / f"{i}.log") for i in range(2)]
    until(lambda: all(one.log.read_text() for one in both))
    assert not any(one.ended() for one in both)
    stop(both, seconds=0.2 if code is STUBBORN else 10)
    assert all(one.ended() for one in both)
    # SLEEPER got its KeyboardInterrupt, the other was terminated
    assert {"KeyboardInterrupt" in one.log.read_text() for one in both} == {code is SLEEPER}


@pytest.mark.skipif(sys.platform != "linux", reason="linux: a process can ask to die with another")
def test_runs_end_with_the_process_that_started_them(tmp_path):
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import os, sys, time
from pathlib import Path
from metasemi_plugin.experiments.executors import _Process
_Process([sys.executable, "-c", {SLEEPER!r}], Path({str(tmp_path / "log")!r}), dict(os.environ))
time.sleep(60)
""",
        ]
    )
    try:
        until(lambda: (tmp_path / "log").exists() and "up" in (tmp_path / "log").read_text())
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: "KeyboardInterrupt" in (tmp_path / "log").read_text())


def test_the_processors_are_divided(monkeypatch):
    monkeypatch.setattr(executors.machine, "cpu_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "OMP_NUM_THREADS" not in Processes(1).environment
    assert Processes(3).environment["OMP_NUM_THREADS"] == "2"
    assert Processes(20).environment["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Processes(3).environment["OMP_NUM_THREADS"] == "5"


def test_a_run_is_what_train_makes_of_its_words(suite, monkeypatch):
    (run,) = suite(["metasemi"]).runs
    commands = []
    monkeypatch.setattr(executors, "_Process", lambda command, log, _: commands.append(command))
    for step in ("train", "resume", "start over"):
        Processes(1).start(run, step)
    words = [sys.executable, "-m", "metasemi_plugin", "train", *run.words]
    assert commands == [words, [*words, "--resume"], [*words, "--overwrite"]]

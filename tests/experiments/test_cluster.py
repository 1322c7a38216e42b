import os
import pickle
import signal
from pathlib import Path

import pytest

from metasemi_plugin.cli import compare as compare_command
from metasemi_plugin.errors import Interrupted, UserError
from metasemi_plugin.experiments import cluster
from metasemi_plugin.experiments.cluster import Jobs, Training
from metasemi_plugin.experiments.compare import make
from metasemi_plugin.experiments.records import read

pytest.importorskip("submitit", reason="submitit: not installed")


class Slurm:
    """Commands named like Slurm's, which note what they are called with."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        for name, line in {
            "srun": "",
            "sbatch": f"cp $1 {folder}/batch; echo x >> {folder}/calls\n"
            "echo Submitted batch job 12",
            "sacct": f"cat {folder}/queue",
        }.items():
            (folder / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / name).chmod(0o755)

    def says(self, state: str) -> None:
        (self.folder / "queue").write_text(f"JobID|State|NodeList\n12|{state}|node1\n")

    @property
    def submitted(self) -> int:
        return len((self.folder / "calls").read_text().split())


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    made = Slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(made.folder), prepend=os.pathsep)
    from submitit import SlurmJob

    SlurmJob.watcher.clear()
    return made


def test_a_job_of_slurm_is_asked_for_as_told(slurm, suite):
    (run,) = suite(["supervised"]).runs
    slurm.says("PENDING")
    options = {"partition": "gpu", "time": "90", "gpus": "1", "cpus": "4", "mem": "8"}
    job = Jobs("slurm", options | {"account": "me"}).start(run, "train")
    batch = (slurm.folder / "batch").read_text().splitlines()
    for line in ("partition=gpu", "time=90", "gpus-per-node=1", "cpus-per-task=4", "mem=8GB",
                 "account=me", "job-name=tiny_supervised_seed0"):  # fmt: skip
        assert f"#SBATCH --{line}" in batch
    assert not job.ended()
    job.stop()  # leaves it alone: there is no scancel here


def test_a_job_in_the_queue_is_watched_and_not_queued_again(slurm, suite):
    (run,) = suite(["supervised"]).runs
    jobs = Jobs("slurm", {})
    slurm.says("PENDING")
    jobs.start(run, "train")
    for state in ("PENDING", "RUNNING", "REQUEUED"):
        slurm.says(state)
        assert not jobs.start(run, "resume").ended()
        assert slurm.submitted == 1
    slurm.says("NODE_FAIL")
    jobs.start(run, "resume")
    assert slurm.submitted == 2


def test_what_is_not_there_is_named(slurm, suite, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--executor slurm: .*'partitoin'"):
        Jobs("slurm", {"partitoin": "gpu"})
    with pytest.raises(UserError, match=r"--executor slurm: .*timeout_min"):
        Jobs("slurm", {"time": "an hour"})
    (slurm.folder / "srun").unlink()
    with pytest.raises(UserError, match='--executor slurm: Could not detect "srun"'):
        Jobs("slurm", {})
    suite()
    words = [str(tmp_path / "suite.yaml"), "--slurm-time", "3"]
    with pytest.raises(UserError, match="--slurm-time: needs --executor slurm"):
        compare_command.main(words)


def test_the_command_line_of_slurm(suite, inside, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(compare_command, "_executor", lambda *what: asked.append(what) or inside)
    suite()
    words = [str(tmp_path / "suite.yaml"), "--save_dir", str(tmp_path / "runs"), "--seeds", "0"]
    words += ["--executor", "slurm", "--slurm-partition", "gpu", "--slurm-gpus-per-task=1"]
    assert compare_command.main(words) == 0
    assert asked == [("slurm", 2, {"slurm_partition": "gpu", "slurm_gpus_per_task": "1"})]


def test_a_job_does_what_is_still_to_do(suite, stop):
    (run,) = suite(["supervised"]).runs
    stop(4, SystemExit(144))  # how submitit ends a job that it queues again
    with pytest.raises(SystemExit):
        Training(run, overwrite=False)()
    assert read(run.folder).status == "interrupted"
    stop(7, None)
    again = Training(run, overwrite=True).checkpoint()
    assert not again.function.overwrite
    pickle.loads(pickle.dumps(again.function))()
    record = read(run.folder)
    assert (record.status, record.run["sittings"]) == ("complete", 2)
    Training(run, overwrite=False)()
    assert read(run.folder).run == record.run


def test_a_job_that_was_told_to_stop_waits_to_be_told_why(suite, stop, monkeypatch):
    (run,) = suite(["supervised"]).runs
    waited = []
    monkeypatch.setattr(cluster.time, "sleep", waited.append)
    stop(4, Interrupted("saved"))
    with pytest.raises(Interrupted):
        Training(run, overwrite=False)()
    assert waited == [20]


def test_jobs_that_are_sent_away_come_back_and_all_are_complete(suite, monkeypatch):
    """submitit's local executor, and the signal with which Slurm takes a job's place away."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    four = suite(seeds=(0, 1), num_train_iter=200, num_eval_iter=10, num_log_iter=100)
    folder = four.runs[1].folder
    sent_away = []

    class Sending(Jobs):
        """Sends the second run away once it has something to lose."""

        def start(self, run, step):
            job = super().start(run, step)
            ended = job.ended

            def watched():
                if run.folder == folder and not sent_away and len(read(folder).metrics) >= 2:
                    sent_away.append(read(folder).status)
                    os.kill(int((folder / ".lock").read_text()), signal.SIGUSR2)
                return ended()

            job.ended = watched
            return job

    assert make(four, Sending("local", {}), jobs=4, every=0.1) == []
    assert sent_away == ["running"]
    assert [read(run.folder).status for run in four.runs] == ["complete"] * 4
    assert [read(run.folder).run["sittings"] for run in four.runs] == [1, 2, 1, 1]

"""wandb and aim get what TensorBoard gets, as one run a training."""

import json
from pathlib import Path

import aim
import pytest
import wandb

from metasemi_plugin import train
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.hooks import ProgressHook


@pytest.fixture
def runs(monkeypatch):
    """What wandb is told: of each run, how it was begun, what was logged, and how it ended."""
    found = []

    class Run:
        def __init__(self, given):
            self.given, self.logged, self.status = given, {}, None
            found.append(self)

        def log(self, scalars, step):
            self.logged[step] = scalars

        def finish(self, exit_code=0):
            self.status = exit_code

    monkeypatch.setattr(wandb, "init", lambda **given: Run(given))
    return found


def test_losses_kept_shares_and_every_evaluation(runs, tiny_run, tmp_path):
    options = tiny_run(save_name="run", use_wandb=True, num_log_iter=4, num_eval_iter=3)
    train(**options)
    (run,) = runs
    assert list(run.logged) == [3, 4, 6]
    assert {"train/loss", "train/kept", "eval/top-1-acc", "test/error"} <= run.logged[6].keys()
    assert (run.status, run.given["name"], run.given["project"]) == (0, "run", tmp_path.name)
    assert run.given["config"]["num_labels"] == 40
    assert run.given["dir"] == str(tmp_path / "wandb/run")
    assert Path(run.given["dir"]).is_dir()
    # The same run, and nothing of it has to be done again.
    train(**options, resume=True)
    assert runs[1].given["id"] == run.given["id"]
    assert runs[1].given["resume"] == "allow"
    train(**options, overwrite=True)
    assert runs[2].given["id"] != run.given["id"]


def test_a_run_that_fails_ends_there_as_well(runs, tiny_run, monkeypatch):
    def fail(*_):
        raise RuntimeError("it broke")

    monkeypatch.setattr(ProgressHook, "after_train_step", fail)
    with pytest.raises(RuntimeError, match="it broke"):
        train(**tiny_run(use_wandb=True))
    assert runs[0].status == 1


def test_without_a_key_nothing_begins_and_nothing_is_lost(tiny_run, tmp_path, monkeypatch):
    train(**tiny_run("supervised", save_name="run"))
    before = (tmp_path / "run/run.json").read_bytes()

    def refuse(**_):
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"^use_wandb: No API key .* log in\. Or leave use_wandb"):
        train(**tiny_run("supervised", save_name="run", use_wandb=True, overwrite=True))
    assert (tmp_path / "run/run.json").read_bytes() == before


def test_a_service_that_fails_costs_no_training(runs, tiny_run, monkeypatch, capsys):
    def fail(*_, **__):
        raise wandb.errors.CommError("no network")

    init = wandb.init

    def with_failure(**given):
        run = init(**given)
        run.log = fail
        return run

    monkeypatch.setattr(wandb, "init", with_failure)
    assert train(**tiny_run(use_wandb=True))["iterations"] == 6
    assert capsys.readouterr().out.count("no more curves: CommError: no network") == 1


def test_aim_has_one_run_that_goes_on(tiny_run, tmp_path, monkeypatch):
    """Aim itself leaves files open that outlive the test."""
    found = []

    class Run(dict):
        def __init__(self, run_hash, repo, **given):
            self.hash, self.repo, self.given = run_hash or "a hash", repo, given
            self.asked, self.tracked, self.closed = run_hash, {}, False
            found.append(self)

        def track(self, value, name, step):
            self.tracked.setdefault(name, []).append(step)

        def close(self):
            self.closed = True

    monkeypatch.setattr(aim, "Run", Run)
    options = tiny_run(save_name="run", use_aim=True)
    folder = Path(train(**options)["folder"])
    train(**options, resume=True)
    assert json.loads((folder / "run.json").read_text())["trackers"] == {"aim": "a hash"}
    first, again = found
    assert (first.asked, again.asked) == (None, "a hash")
    assert first.closed
    assert first.repo == str(tmp_path / "aim/run")
    assert (first.tracked["train/kept"], first.tracked["test/error"]) == ([2, 3, 4, 6], [3, 6])
    assert first["hparams"]["num_labels"] == 40

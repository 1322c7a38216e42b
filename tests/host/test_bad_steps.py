"""Steps with bad numbers leave nothing behind but their count."""

import json
import math

import pytest
import torch
from torture import unequal

from metasemi_plugin import train
from metasemi_plugin.cli.train import report
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.hooks import TeacherHook
from metasemi_plugin.host.on_device import OnDevice
from metasemi_plugin.run_folder import checkpoint

BAD = {"nan": math.nan, "inf": math.inf}


@pytest.fixture
def poison(monkeypatch):
    """poison(steps, how): those steps see images with a NaN in them, or a loss that is bad."""

    def poison(steps, how="images"):
        to_device, left = OnDevice.to_device, set(steps)

        def poisoned(self, batch):
            batch = to_device(self, batch)
            if self.it in left and how == "images":
                left.remove(self.it)  # what is evaluated after the step is not poisoned
                for key, value in batch.items():
                    if key.startswith("x_"):
                        value[0, 0, 0, 0] = math.nan
            return batch

        monkeypatch.setattr(OnDevice, "to_device", poisoned)
        if how != "images":
            hooks = OnDevice.set_hooks

            def with_factor(self):
                hooks(self)
                step = self.train_step

                def train_step(*args, **kwargs):
                    out, log = step(*args, **kwargs)
                    if self.it in steps:
                        out["loss"] = bad_loss(out["loss"], self.model, how)
                    return out, log

                import functools

                self.train_step = functools.wraps(step)(train_step)

            monkeypatch.setattr(OnDevice, "set_hooks", with_factor)

    return poison


def bad_loss(loss, model, how):
    if how == "gradient":  # of sqrt at 0, beside a finite loss
        return loss + (model.classifier.bias.sum() * 0).abs().sqrt() * 0
    return loss * BAD[how]


def finite(saved):
    parts = [saved["model"], saved["ema_model"], *saved["optimizer"]["state"].values(),
             {k: v for k, v in saved.items() if isinstance(v, torch.Tensor)}]  # fmt: skip
    return all(bool(t.isfinite().all()) for part in parts for t in part.values() if t is not None)


@pytest.mark.parametrize(
    ("algorithm", "how"),
    [
        ("supervised", "images"), ("supervised", "nan"), ("supervised", "inf"),
        ("supervised", "gradient"), ("metasemi", "images"), ("freematch", "images"),
        ("softmatch", "images"), ("flexmatch", "images"), ("remixmatch", "images"),
        ("temporal_ensembling", "images"), ("fast_swa", "images"), ("vat", "images"),
    ],
)  # fmt: skip
def test_a_single_one_is_skipped_and_counted(tiny_run, poison, algorithm, how, tmp_path):
    poison({2}, how)
    summary = train(**tiny_run(algorithm, save_name="run", num_train_iter=10))
    saved = checkpoint.verified(tmp_path / "run/latest_model.pth")[1]
    assert finite(saved)
    assert saved["bad_steps"] == [1, 0]
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert (run["bad_steps"], run["iterations"], run["status"]) == (1, 10, "complete")
    assert "bad steps: 1, whose loss or gradient was not finite: undone\n" in report(summary)
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert all(value is not None for value in line.values())


@pytest.mark.parametrize("algorithm", ["supervised", "freematch", "temporal_ensembling"])
def test_it_moves_neither_weights_nor_statistics_nor_the_average(
    tiny_run, poison, algorithm, tmp_path
):
    """After a bad last step all is as it was one step before, but for the schedule."""
    poison({3})
    changes = {"num_save_iter": 1, "num_eval_iter": 4, "num_train_iter": 4}
    with pytest.raises(UserError, match="in 1 of 4 steps, of the last one too: what has been"):
        train(**tiny_run(algorithm, save_name="run", **changes))
    folder = tmp_path / "run"
    after, before = (
        checkpoint.verified(folder / name)[1] for name in (checkpoint.LATEST, checkpoint.PREVIOUS)
    )
    assert (before["it"], after["it"], after["bad_steps"]) == (3, 4, [1, 1])
    moving = {"it", "epoch", "history", "record", "random", "bad_steps", "scheduler", "optimizer",
              "best_it", "best_eval_acc"}  # fmt: skip
    for key in after.keys() - moving:
        assert unequal(after[key], before[key], key) == ""
    states = [saved["optimizer"]["state"] for saved in (after, before)]
    assert unequal(*states, "state") == ""


def test_too_many_in_a_row_stop_the_run(tiny_run, poison, tmp_path):
    poison(range(3, 100))
    with pytest.raises(UserError) as error:
        train(**tiny_run(save_name="run", num_train_iter=30, max_bad_steps=4))
    message = str(error.value)
    assert "not finite for 4 steps in a row, until iteration 7, at learning rate 0.09" in message
    assert f"The last good checkpoint is {tmp_path}/run/latest_model.pth, of iteration 6" in message
    saved = checkpoint.verified(tmp_path / "run/latest_model.pth")[1]
    assert finite(saved)
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["status"] == "failed"
    assert run["error"].startswith("loss or gradient was not finite")


def test_others_in_between_do_not(tiny_run, poison):
    poison({0, 1, 3, 4})
    options = tiny_run("supervised", save_name="run", max_bad_steps=3)
    assert train(**options | {"num_train_iter": 40})["bad_steps"] == 4


@pytest.mark.parametrize(("iterations", "bad"), [(20, {2, 4}), (19, {2, 4}), (100, {99})])
def test_with_too_many_in_all_or_at_the_end_a_run_has_failed(
    tiny_run, poison, tmp_path, iterations, bad
):
    poison(bad)
    options = tiny_run("supervised", save_name="run", num_train_iter=iterations)
    if iterations == 20:
        assert train(**options)["bad_steps"] == 2
        return
    for resume in (False, True):
        with pytest.raises(UserError, match=f"not finite in {len(bad)} of {iterations} steps"):
            train(**options, resume=resume)
        run = json.loads((tmp_path / "run/run.json").read_text())
        assert (run["status"], run["iterations"]) == ("failed", iterations)
        assert run["error"].startswith("loss or gradient was not finite in")


def test_weights_that_are_not_finite_are_never_saved(tiny_run, tmp_path, monkeypatch):
    average = TeacherHook.after_train_step

    def overflow(self, algorithm):
        average(self, algorithm)
        algorithm.model.classifier.bias.data[0] = math.inf

    monkeypatch.setattr(TeacherHook, "after_train_step", overflow)
    with pytest.raises(UserError, match=r"not finite .*There is no checkpoint yet"):
        train(**tiny_run("supervised", save_name="run", num_eval_iter=1))
    assert not list((tmp_path / "run").glob("*.pth"))


def test_float16_in_search_of_its_scale_makes_no_bad_steps(tiny_run, tmp_path):
    train(**tiny_run("supervised", save_name="run", amp=True, amp_dtype="float16"))
    saved = checkpoint.verified(tmp_path / "run/latest_model.pth")[1]
    assert saved["bad_steps"] == [0, 0]
    assert finite(saved)

import json

import pytest

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.plan import ELSEWHERE, Step, chosen, differing, next_step, refuse
from metasemi_plugin.run_folder.lock import locked


@pytest.fixture
def run(suite):
    return suite(["metasemi"]).runs[0]


def settings(run, **changes):
    config = {k: v for k, v in vars(run.args).items() if k not in CALL_OPTIONS}
    return json.loads(json.dumps(config | changes))


def leave(run, status, checkpoint=False, **changes):
    """A run folder in a state."""
    run.folder.mkdir(parents=True)
    record = {"status": status, "iterations": 3, "config": settings(run, **changes)}
    (run.folder / "run.json").write_text(json.dumps(record))
    (run.folder / "config.yaml").touch()
    if checkpoint:
        (run.folder / "latest_model.pth").touch()


def test_nothing_is_there(run):
    assert next_step(run).what == "train"
    run.folder.mkdir(parents=True)
    (run.folder / ".lock").touch()
    assert next_step(run).what == "train"


@pytest.mark.parametrize(
    ("status", "checkpoint", "step"),
    [
        ("complete", True, Step("done")),
        ("interrupted", True, Step("resume", "interrupted after iteration 3")),
        ("failed", True, Step("resume", "failed after iteration 3")),
        ("running", True, Step("resume", "cut off after iteration 3")),
        ("running", False, Step("start over", "cut off before its first checkpoint")),
        ("failed", False, Step("start over", "failed before its first checkpoint")),
    ],
)
def test_states_of_a_run(status, checkpoint, step, run):
    leave(run, status, checkpoint)
    assert next_step(run) == step
    assert next_step(run, overwrite=True) == step


def test_somebody_is_at_it(run):
    leave(run, "running", checkpoint=True)
    with locked(run.folder):
        assert next_step(run).what == "wait"


def test_other_settings_are_in_the_way(run):
    leave(run, "complete", checkpoint=True, lr=0.25, num_eval_iter=1)
    step = next_step(run)
    assert step.what == "refuse"
    assert step.why == (
        f"{run.folder} was made with other settings: lr (0.25, now 0.1), num_eval_iter (1, now 3): "
        "--overwrite replaces it, --name NAME makes new runs"
    )
    assert next_step(run, overwrite=True).what == "start over"
    with pytest.raises(UserError) as error:
        refuse([Step("done"), step, Step("refuse", "another")])
    assert str(error.value).splitlines() == [
        step.why,
        "another",
    ]
    refuse([Step("done"), Step("start over", "why")])


def test_killed_before_there_was_a_record(run):
    run.folder.mkdir(parents=True)
    for name in (".lock", "config.yaml", "config.yaml.part"):
        (run.folder / name).touch()
    assert next_step(run).what == "start over"


@pytest.mark.parametrize("status", [None, "failed", "complete"])
def test_what_no_run_writes_is_never_replaced(run, status):
    if status:
        leave(run, status, checkpoint=True, lr=0.25)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "photo.jpg").touch()
    for overwrite in (False, True):
        assert next_step(run, overwrite) == Step(
            "refuse",
            f"{run.folder} holds what no run writes (photo.jpg): move it away, or make new runs "
            "with --name NAME",
        )


@pytest.mark.parametrize("text", ["{", "[]", "\x80"])
def test_a_damaged_record_is_in_the_way(run, text):
    leave(run, "complete", checkpoint=True)
    (run.folder / "run.json").write_text(text, encoding="latin-1")
    step = next_step(run)
    assert step == Step(
        "refuse",
        f"{run.folder}/run.json is damaged: --overwrite replaces it, --name NAME makes new runs",
    )
    assert next_step(run, overwrite=True).what == "start over"


def test_what_results_do_not_depend_on_may_differ(run):
    assert differing(settings(run, save_dir="x", save_name="y", num_workers=3), run.args) == []


def test_an_option_younger_than_the_record_had_its_default(run):
    old = settings(run)
    del old["consistency"]
    assert differing(old, run.args) == []
    run.args.consistency = "ict"
    assert differing(old, run.args) == ["consistency (none, now ict)"]
    assert differing(settings(run, gone=1), run.args) == ["gone (1, now None)"]


def test_what_was_chosen_tells_a_run_from_others_on_any_machine(run):
    whole = settings(run, momentum=0.5, gone=1, data_dir="x", device="cpu")
    found = chosen(whole, "metasemi")
    assert found.keys() < whole.keys() - {"data_dir", "device", "consistency", "save_dir"}
    assert (found["momentum"], found["gone"]) == (0.5, 1)
    assert differing(found, run.args, ELSEWHERE) == differing(whole, run.args, ELSEWHERE)
    assert chosen(found, "metasemi") == found

import json
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from metasemi_plugin.cli import tune as tune_command
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.tune import choose, suite_of_folds, table


@pytest.fixture
def config(tmp_path, tiny_run):
    options = tiny_run("metasemi")
    del options["save_dir"]
    YAML().dump(options, tmp_path / "tiny.yaml")
    return tmp_path / "tiny.yaml"


@pytest.fixture
def command(config, inside, monkeypatch, tmp_path):
    monkeypatch.setattr(tune_command, "Processes", lambda jobs: inside)

    def command(*words):
        common = ["--c", str(config), "--save_dir", str(tmp_path / "runs"), "--folds", "2"]
        return tune_command.main([*common, "--betas", "0.3", "0.7", *words])

    return command


def test_a_run_for_each_beta_and_fold(config):
    suite = suite_of_folds(config, [0.3, 1.0], 3, "mine", {"lr": "0.2"})
    assert [(r.args.mixup_beta, r.args.label_fold) for r in suite.runs] == [
        (0.3, 0), (0.3, 1), (0.3, 2), (1.0, 0), (1.0, 1), (1.0, 2),
    ]  # fmt: skip
    assert {(r.args.label_folds, r.args.lr, r.args.seed) for r in suite.runs} == {(3, 0.2, 3)}
    assert str(suite.runs[4].folder) == "saved_models/mine/mixup_beta=1.0_label_fold=1"
    assert suite.runs[4].words[:2] == ["--c", str(config)]


def test_a_table_a_curve_and_a_record(command, inside, capsys, tmp_path):
    assert command() == 0
    assert len(inside.steps) == 4
    out = capsys.readouterr().out.splitlines()
    assert out[-5] == "| mixup_beta | fold 0 | fold 1 | mean ± std |"
    assert out[-3].startswith("| 0.3 | ")
    found = json.loads((tmp_path / "runs/tune.json").read_text())
    assert (found["folds"], found["dataset"], found["num_labels"]) == (2, "digits", 40)
    assert [row["mixup_beta"] for row in found["rows"]] == [0.3, 0.7]
    assert (tmp_path / "runs/tune.png").read_bytes()[:4] == b"\x89PNG"
    # The fold, and not the test set, is what beta is chosen on.
    of_fold = json.loads((tmp_path / "runs/mixup_beta=0.7_label_fold=1/run.json").read_text())
    assert of_fold["chosen_on"] == "validation"
    assert found["rows"][1]["errors"][1] == of_fold["eval"]["median_last_20"]


def test_finished_folds_are_not_repeated(command, inside, stop, tmp_path):
    stop(4, KeyboardInterrupt())
    assert command() == 130
    assert not (tmp_path / "runs/tune.json").exists()
    stop(7, None)
    assert command() == 0
    first = "mixup_beta=0.3_label_fold=0"
    assert inside.steps[:3] == [
        (first, "train"), (first, "resume"), ("mixup_beta=0.3_label_fold=1", "train"),
    ]  # fmt: skip
    assert command() == 0
    assert len(inside.steps) == 5
    assert command("--betas", "0.3", "0.7", "0.9") == 0
    assert [name for name, _ in inside.steps[5:]] == [
        "mixup_beta=0.9_label_fold=0", "mixup_beta=0.9_label_fold=1",
    ]  # fmt: skip


def test_nothing_is_chosen_where_a_fold_has_failed(command, stop, tmp_path, capsys):
    stop(2, RuntimeError("it broke"))
    assert command() == 1
    assert not (tmp_path / "runs/tune.json").exists()
    assert "failed: 2 folds, metasemi, mixup_beta=0.3, label_fold=0" in capsys.readouterr().out


def fold(beta, error):
    run = SimpleNamespace(config="c.yaml", args=SimpleNamespace(mixup_beta=beta, label_folds=2))
    record = dict.fromkeys(("algorithm", "dataset", "num_labels", "seed", "git"))
    return run, record | {"eval": {"median_last_20": error, "last": 0.0, "best": 0.0}}


def test_the_least_mean_is_chosen_and_of_equals_the_least_beta():
    errors = [(0.8, 10), (0.8, 30), (0.2, 30), (0.2, 20), (0.4, 15), (0.4, 25)]
    found = choose([fold(*one) for one in errors])
    assert found["chosen"] == 0.4
    means = {row["mixup_beta"]: row["mean"] for row in found["rows"]}
    assert list(means.items()) == [(0.2, 25), (0.4, 20), (0.8, 20)]
    assert found["rows"][2]["std"] == pytest.approx(200**0.5)
    assert table(found).splitlines()[3] == "| 0.4 | 15.00 | 25.00 | 20.00 ± 7.07 |"


def test_bad_input_is_named(config, command):
    with pytest.raises(UserError, match=r"tiny.yaml: mixmatch has no mixup_beta"):
        suite_of_folds(config, [0.3], 2, "mine", {"algorithm": "mixmatch"})
    with pytest.raises(UserError, match="--folds must be at least 2"):
        suite_of_folds(config, [0.3], 1, "mine", {})
    with pytest.raises(UserError, match="--betas different"):
        command("--betas", "1", "1.0")
    with pytest.raises(UserError, match="mixup_beta: must be above 0"):
        command("--betas", "0")


def test_a_file_that_is_not_its_own_stays(command, inside, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/tune.png").write_text("mine")
    with pytest.raises(UserError, match=r"tune.png would be replaced, .* no tune.json beside it"):
        command()
    assert inside.steps == []
    assert (tmp_path / "runs/tune.png").read_text() == "mine"

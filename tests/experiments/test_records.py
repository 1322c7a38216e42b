import json

import pytest

from metasemi_plugin import train
from metasemi_plugin.experiments.records import read
from metasemi_plugin.run_folder import status
from metasemi_plugin.run_folder.lock import locked


def test_a_complete_run(tiny_run):
    folder = train(**tiny_run(save_name="run", num_val=100))["folder"]
    record = read(folder)
    assert (record.status, record.run["iterations"]) == ("complete", 6)
    assert list(record.metrics["it"]) == [3, 6]
    assert record.metrics["test"].iloc[-1] == record.run["test"]["last"]
    assert {"seconds", "eval", "test", "train/kept"} <= set(record.metrics.columns)


def test_a_run_that_is_not_there(tmp_path):
    record = read(tmp_path / "nothing")
    assert (record.status, record.run, len(record.metrics)) == ("missing", {}, 0)
    assert {"it", "seconds", "eval"} <= set(record.metrics.columns)


@pytest.mark.parametrize("said", ["complete", "interrupted", "failed"])
def test_what_a_record_says(said, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"status": said}))
    assert read(tmp_path).status == said


def test_running_is_what_somebody_is_at(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "running"}')
    with locked(tmp_path):
        assert read(tmp_path).status == "running"
    assert read(tmp_path).status == "cut off"


def test_a_run_that_ends_while_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text('{"status": "running"}')

    def ends(folder):
        (tmp_path / "run.json").write_text('{"status": "complete"}')

    monkeypatch.setattr(status, "holder", ends)
    assert status.status(tmp_path, {"status": "running"}) == "complete"


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl"])
def test_a_damaged_record_says_so(name, tmp_path):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    (tmp_path / name).write_text('{"sta\n')
    assert read(tmp_path).status == "damaged"
    assert list(read(tmp_path).metrics.columns) == ["it", "seconds", "eval"]


def test_half_a_line_is_not_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"it": 1, "train/x": null}\n{"it": 2}\n{"it": 3, "e')
    assert list(read(tmp_path).metrics["it"]) == [1, 2]

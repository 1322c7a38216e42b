"""`evaluate`: its arithmetic against sums by hand, and a run against its own record."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metasemi_plugin import train
from metasemi_plugin.cli import main
from metasemi_plugin.experiments.evaluate import scores
from metasemi_plugin.experiments.evaluate.scores import Answers
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.datasets import build_splits
from metasemi_plugin.run_folder import layout
from metasemi_plugin.run_folder.layout import obstacle

CLASSES = ["a", "b", "c", "never"]


@pytest.fixture
def answers():
    """Of 400 images in three of four classes, right more often than not; some of one confidence."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 400)
    logits = 2 * np.eye(4)[targets] + rng.normal(size=(400, 4)).round(1) - [0, 0, 0, 50]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Answers(shares, logits.argmax(1), targets)


def test_classes_by_hand(answers):
    table, lines = scores.confusion(answers, CLASSES), scores.per_class(answers, CLASSES)
    pairs = list(zip(answers.targets.tolist(), answers.predicted.tolist(), strict=True))
    for i, true in enumerate(CLASSES):
        for j, taken_for in enumerate(CLASSES):
            assert table.loc[true, taken_for] == pairs.count((i, j))
    assert table.loc["a", "b"] != table.loc["b", "a"] > 0
    for i, name in enumerate(CLASSES[:3]):
        right, images = pairs.count((i, i)), sum(t == i for t, _ in pairs)
        taken = sum(p == i for _, p in pairs)
        assert 0 < right < min(images, taken)
        assert taken != images
        expected = [images, right / taken, right / images, 2 * right / (taken + images)]
        assert lines.loc[name].tolist() == pytest.approx(expected)
    assert lines.loc["never", "images"] == 0
    assert lines.loc["never", ["precision", "recall", "f1"]].isna().all()
    found = scores.summary(answers, CLASSES)
    assert found["recall"] == pytest.approx(lines["recall"][:3].mean())
    wrong = sum(t != p for t, p in pairs)
    assert found["error"] == pytest.approx(100 * wrong / 400)
    true = [answers.probabilities[i, t] for i, (t, _) in enumerate(pairs)]
    assert found["cross_entropy"] == pytest.approx(-np.log(true).mean())


def test_calibration_by_hand(answers):
    gap = 0.0
    bins = scores.calibration(answers)
    for m in range(1, 16):  # Guo et al. (2017): ((m - 1) / M, m / M]
        own = [i for i, c in enumerate(answers.confidence) if (m - 1) / 15 < c <= m / 15]
        assert bins["images"][m - 1] == len(own)
        if own:
            right = np.mean([answers.predicted[i] == answers.targets[i] for i in own])
            confidence = np.mean([answers.confidence[i] for i in own])
            assert bins.loc[m - 1, ["confidence", "right"]].tolist() == pytest.approx(
                [confidence, right]
            )
            gap += len(own) / 400 * abs(right - confidence)
        else:
            assert np.isnan(bins["right"][m - 1])
    assert gap > 0.01
    assert scores.calibration_error(bins) == pytest.approx(100 * gap)


def test_an_edge_belongs_to_the_bin_below():
    shares = np.array([[3 / 15, 12 / 15], [1.0, 0.0]])
    bins = scores.calibration(Answers(shares, np.array([1, 0]), np.array([1, 1])))
    assert bins["images"].to_numpy().nonzero()[0].tolist() == [11, 14]


def test_the_error_of_the_most_confident_by_hand(answers):
    curve = scores.by_confidence(answers)
    assert len(curve) == len(set(answers.confidence)) < 400
    for confidence, share, error in curve.to_numpy():
        kept = answers.confidence >= confidence
        assert share == pytest.approx(kept.mean())
        assert error == pytest.approx(100 * (1 - answers.right[kept].mean()))
    assert 0 < curve["error"][len(curve) // 2] < curve["error"].iloc[-1]
    assert curve["error"].iloc[-1] == pytest.approx(scores.error(answers))


# Trained until most classes are told apart somewhat, evaluated in batches of which one is smaller.
SHAPE = {"eval_batch_size": 100, "num_train_iter": 60, "num_eval_iter": 60}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from tiny import TINY_RUN

    changes = {"save_dir": str(tmp_path_factory.mktemp("runs")), "save_name": "run"}
    return Path(train(**TINY_RUN | changes | SHAPE)["folder"])


def of(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_run_has_the_error_of_its_record(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    said = capsys.readouterr().out
    assert "360 images of test: error " in said
    assert "recorded" not in said
    found = of(run / "evaluation")
    recorded = json.loads((run / "run.json").read_text())["test"]["last"]
    assert found["error"] == found["recorded_error"] == recorded > 0
    described = json.loads((run / "model/model.json").read_text())["run"]
    rows = list(csv.reader((run / "evaluation/confusion.csv").open()))
    counts = [[int(cell) for cell in row[1:]] for row in rows[1:]]
    assert counts == described["confusion"]["test"]
    for picture in (run / "evaluation").glob("*.png"):
        with Image.open(picture) as opened:
            assert min(opened.size) > 300


def test_a_run_that_was_evaluated_may_be_replaced(run):
    assert main(["evaluate", str(run)]) == 0
    names = {path.name for path in (run / "evaluation").iterdir()}
    assert names == layout._OF_EVALUATION
    args = resolve(str(run / "config.yaml"), {"resume": True})
    assert obstacle(run, args) is None
    (run / "evaluation/mine.txt").touch()
    try:
        assert obstacle(run, args) == "holds what no run writes (evaluation)"
    finally:
        (run / "evaluation/mine.txt").unlink()


def test_another_error_than_the_record_is_said(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scores, "error", lambda answers: 12.5)
    assert main(["evaluate", str(run), "--out", str(tmp_path / "a/b")]) == 0
    assert "the run recorded " in capsys.readouterr().out
    assert of(tmp_path / "a/b")["error"] == 12.5


@pytest.mark.parametrize("below", ["", "test"])
def test_folders_of_classes_without_semilearn(run, tmp_path, below, monkeypatch):
    """The test images as files, of all classes but "0"."""
    part = build_splits(resolve(str(run / "config.yaml"), {"resume": True})).parts["eval"]
    pixels = part.images[np.arange(len(part))]
    for i, (image, target) in enumerate(zip(pixels, part.targets, strict=True)):
        if target:
            folder = tmp_path / "images" / below / str(target)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i}.png")
    monkeypatch.setattr("metasemi_plugin.register", None)  # nothing of the run's own is built
    words = ["--data_dir", str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", str(run / "model"), *words]) == 0
    counts = np.array(
        json.loads((run / "model/model.json").read_text())["run"]["confusion"]["test"]
    )
    assert counts[0].sum() > 0
    counts[0] = 0
    rows = list(csv.reader((tmp_path / "out/confusion.csv").open()))[1:]
    assert [[int(cell) for cell in row[1:]] for row in rows] == counts.tolist()
    found = of(tmp_path / "out")
    assert found["recorded_error"] is None
    assert found["error"] == pytest.approx(100 * (1 - counts.trace() / counts.sum()))
    assert list(csv.reader((tmp_path / "out/per_class.csv").open()))[1][3] == ""


def test_what_cannot_be_evaluated_is_one_line(run, tmp_path, capsys):
    (tmp_path / "images/cow").mkdir(parents=True)
    (tmp_path / "empty/1").mkdir(parents=True)
    (tmp_path / "file").touch()
    out = ["--out", str(tmp_path / "out")]
    for words, message in (
        ([str(run), "--data_dir", str(tmp_path / "images")], "no class of the model: 'cow'"),
        ([str(run), "--data_dir", str(tmp_path / "empty")], "has no images in folders named by"),
        ([str(run), "--data_dir", str(tmp_path / "gone")], "is not a folder"),
        ([str(run / "model"), *out], "add --data_dir DIR"),
        ([str(run / "model")], "say with --out DIR where to write"),
        ([str(run), "--out", str(tmp_path / "file")], "cannot write to"),
        ([str(tmp_path)], "holds no model"),
    ):
        assert main(["evaluate", *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()

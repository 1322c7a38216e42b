import json
from pathlib import Path

import pytest
import torch

from metasemi_plugin import train
from metasemi_plugin.cli.inspect import main
from metasemi_plugin.data import DATASETS
from metasemi_plugin.experiments.inspect import fit
from metasemi_plugin.experiments.inspect.fit import Fit
from metasemi_plugin.host.loaded import loaded


@pytest.mark.parametrize("algorithm", ["supervised", "metasemi"])
def test_of_runs(tiny_run, algorithm, capsys):
    record = train(**tiny_run(algorithm, num_train_iter=60, num_eval_iter=60, ema_m=0.9))
    last = json.loads((Path(record["folder"]) / "run.json").read_text())["test"]["last"]
    assert main([record["folder"], "--batches", "0"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert row[0] == Path(record["folder"]).as_posix()
    # What the last evaluation of the run found.
    assert float(row[4]) == pytest.approx(last, abs=0.051)
    assert 0 < float(row[1]) < (float(row[4]) if algorithm == "supervised" else 100)


def test_without_test_images_it_says_so(tiny_run, capsys, monkeypatch):
    digits = DATASETS["digits"]
    monkeypatch.setitem(DATASETS, "digits", lambda *args: digits(*args)._replace(test=None))
    folder = train(**tiny_run(num_val=100))["folder"]
    assert main([folder, "--batches", "0"]) == 0
    assert f"| {folder} (on validation images) |" in capsys.readouterr().out


def test_labeled_images_are_all_taken_once(tiny_run):
    folder = train(**tiny_run(batch_size=6))["folder"]
    algorithm = loaded(Path(folder), "latest_model.pth")
    own = algorithm.dataset_dict["train_lb"]
    assert len(own) % 6 != 0
    y = torch.cat([y for _, y in fit.labeled(algorithm)])
    assert sorted(y.tolist()) == sorted(torch.as_tensor(own.targets).tolist())


def test_a_net_of_known_answers():
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    classes = torch.tensor([0, 1, 1, 0])
    images = torch.arange(4).split(3)

    def net(x):
        return {"logits": probabilities[x].log()}

    found = fit.fit(net, zip(images, classes.split(3), strict=True))
    assert found.error == 0.25
    assert found.cross_entropy == pytest.approx(-torch.tensor([0.8, 0.4, 0.9, 0.5]).log().mean())
    assert found.confidence == pytest.approx(0.7)


def test_the_table():
    row = fit.table({"a": [Fit(0.018, 0.376, 0.723), Fit(0.4709, 1.459, 0.4712)]}).splitlines()[-1]
    assert row == "| a | 1.8 | 0.38 | 0.72 | 47.1 | 1.46 | 0.47 |"

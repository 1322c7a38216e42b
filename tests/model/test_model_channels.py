"""A model of images that are not RGB: `load` and `predict` read them as the run did."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metasemi_plugin import load, train
from metasemi_plugin.cli import main
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.loaded import loaded

CHANNELS = (1, 4)


@pytest.fixture(scope="module", params=CHANNELS)
def run(request, tmp_path_factory):
    """The folder of a run on arrays of 16 bits and pictures of 8, and the data."""
    channels, root = request.param, tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 3)):
        for label in range(2):
            folder = root / part / "ab"[label]
            folder.mkdir(parents=True)
            for i in range(count):
                values = rng.integers(0, 128, (16, 18, channels)) + 100 * label
                Image.fromarray(values.astype(np.uint8).squeeze()).save(folder / f"{i}.tif")
                np.save(folder / f"{i}.npy", (values * 10).astype(np.uint16))
    options = {
        "dataset": "image_folder", "data_dir": str(root), "num_classes": 2, "num_labels": 4,
        "channels": channels, "img_size": 16, "net": "cnn13_slim", "net_args": {"width": 4},
        "batch_size": 2, "num_train_iter": 4, "num_eval_iter": 2, "eval_batch_size": 12,
        "ema_m": 0.5, "device": "cpu", "use_tensorboard": False, "save_name": "run",
        "save_dir": str(tmp_path_factory.mktemp("runs")),
    }  # fmt: skip
    return Path(train(**options)["folder"]), root, channels


def test_images_are_seen_as_the_runs_evaluation_saw_them(run):
    folder, root, channels = run
    logits = loaded(folder, "latest_model.pth").evaluate("eval", return_logits=True)["eval/logits"]
    found = load(folder).predict(root / "test", batch_size=12)
    assert len(found.files) == 12
    assert torch.equal(found.probabilities, torch.as_tensor(np.asarray(logits)).softmax(1))
    described = json.loads((folder / "model/model.json").read_text())
    assert described["channels"] == channels == len(described["mean"])
    assert described["ranges"].keys() == {"integer"}


def test_images_in_memory(run):
    folder, root, channels = run
    model = load(folder)
    files = sorted(str(file) for file in (root / "test").rglob("*.tif"))
    expected = model.predict(files).probabilities
    pictures = [Image.open(file) for file in files]
    arrays = [np.asarray(picture).reshape(16, 18, channels) for picture in pictures]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
    for given in (pictures, arrays, tensors, np.stack(arrays), torch.stack(tensors)):
        assert torch.equal(model.predict(given).probabilities, expected)
    if channels == 4:
        with pytest.raises(UserError, match="3 channels, not 4"):
            model.predict(np.zeros((16, 16, 3), np.uint8))


def test_a_page_shows_them(run, tmp_path, capsys):
    folder, root, _ = run
    words = ["--page", str(tmp_path / "out.html"), "--csv", str(tmp_path / "out.csv")]
    assert main(["predict", str(folder), str(root / "test"), *words]) == 0
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg;base64,") == 12
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 13

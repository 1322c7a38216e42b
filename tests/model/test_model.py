"""What a training leaves to be used: the model folder, `load`, and `predict`."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metasemi_plugin import load, train
from metasemi_plugin.bench import predict
from metasemi_plugin.cli import main
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.loaded import loaded

COLORS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (210, 50, 40)}


# Sums have one order on one number of threads.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """12 labeled and 5 test images of each of three classes, in sizes of their own."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 5)):
        for name, color in COLORS.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-40, 40, (20 + i, 24, 3))
                pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """The folder of a run on them."""
    return Path(train(**options(photos, tmp_path_factory.mktemp("runs")))["folder"])


def options(photos, save_dir, **changes):
    return {
        "dataset": "image_folder", "data_dir": str(photos), "num_classes": 3, "num_labels": 6,
        "img_size": 16, "net": "cnn13_slim", "net_args": {"width": 4}, "batch_size": 3, "uratio": 2,
        "eval_batch_size": 15, "num_train_iter": 6, "num_eval_iter": 3, "num_log_iter": 3,
        "ema_m": 0.5, "lr": 0.05, "device": "cpu", "use_tensorboard": False,
        "save_dir": str(save_dir), "save_name": "run", **changes,
    }  # fmt: skip


def test_images_of_the_test_set_are_seen_as_the_runs_evaluation_saw_them(run, photos):
    algorithm = loaded(run, "latest_model.pth")
    of_run = algorithm.evaluate("eval", return_logits=True)["eval/logits"]
    found = load(run).predict(photos / "test", batch_size=15)
    assert of_run.std() > 0
    logits = torch.as_tensor(np.asarray(of_run))
    assert torch.equal(found.probabilities, logits.softmax(1))
    right = [
        Path(file).parent.name == name
        for file, name in zip(found.files, found.classes, strict=True)
    ]
    (errors,) = json.loads((run / "model/model.json").read_text())["run"]["errors"].values()
    assert 100 * (1 - sum(right) / len(right)) == pytest.approx(errors)


def test_a_copy_needs_neither_the_data_nor_semilearn(run, photos, tmp_path):
    shutil.copytree(run / "model", tmp_path / "copy")
    shutil.copytree(photos / "test", tmp_path / "pictures")
    code = """
import sys
sys.modules["semilearn"] = None  # so that its import fails
from metasemi_plugin import load
found = load("copy").predict("pictures", batch_size=15)
print(found.probabilities.numpy().tobytes().hex())
assert "sklearn" not in sys.modules and "matplotlib" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=ONE_THREAD
    )
    expected = load(run).predict(photos / "test", batch_size=15).probabilities
    assert done.stdout.strip() == expected.numpy().tobytes().hex(), done.stderr


def test_images_are_taken_as_people_have_them(run, photos):
    model = load(run)
    files = sorted((photos / "test").rglob("*.png"))
    expected = model.predict([str(file) for file in files])
    assert expected.files == [str(file) for file in files]
    images = [Image.open(file) for file in files]
    arrays = [np.asarray(image) for image in images]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
    for given in (photos / "test", files, images, arrays, tensors):
        assert torch.equal(model.predict(given).probabilities, expected.probabilities)
    one = model.predict(images[0])
    torch.testing.assert_close(one.probabilities[0], expected.probabilities[0])
    x = torch.stack([model.transform(image) for image in images])
    assert x.shape == (15, 3, 16, 16)
    torch.testing.assert_close(model.module(x)["logits"].softmax(1), expected.probabilities)
    same = torch.stack([t[:, :20] for t in tensors])
    assert torch.equal(
        model.predict(same).probabilities,
        model.predict(same.permute(0, 2, 3, 1).numpy()).probabilities,
    )


def test_what_cannot_be_used_is_said_in_one_line(run, photos, tmp_path):
    def changed(name, change):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(run / "model", tmp_path / "copy")
        path = tmp_path / "copy" / name
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(UserError) as error:
            load(tmp_path / "copy")
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "is damaged" in changed("model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]))
    assert "another version" in changed(
        "model.json", lambda b: b.replace(b'"format": 1', b'"format": 2')
    )
    assert "model.json is damaged" in changed("model.json", lambda b: b[:20])
    with pytest.raises(UserError, match="holds no model: expected a run folder"):
        load(photos)
    model = load(run)
    (tmp_path / "empty").mkdir()
    for given, message in (
        (tmp_path / "empty", "has no images"),
        (tmp_path / "gone.png", "is not there"),
        (np.zeros((8, 8, 2), np.uint8), "image of 2 channels"),
        (np.zeros((8, 8, 3)), "array of float64 is no image"),
        ([], "no images to predict"),
    ):
        with pytest.raises(UserError, match=message):
            model.predict(given)


def test_the_model_is_the_best_on_validation_images_or_the_last(photos, run, tmp_path):
    described = json.loads((run / "model/model.json").read_text())
    assert (described["chosen"], described["run"]["iteration"]) == ("the last", 6)
    folder = Path(train(**options(photos, tmp_path, num_val=9))["folder"])
    described = json.loads((folder / "model/model.json").read_text())
    best = json.loads((folder / "run.json").read_text())["eval"]["best_iteration"]
    assert described["run"]["iteration"] == best
    assert described["chosen"] == "the best until then on validation images"
    assert described["run"]["errors"].keys() == {"validation", "test"}
    weights = torch.load(folder / "model_best.pth", weights_only=True)["ema_model"]
    module = load(folder).module.state_dict()
    assert all(torch.equal(module[name], weights[name]) for name in weights)


def test_the_folder_says_what_it_is(run):
    assert {path.name for path in (run / "model").iterdir()} == {
        "model.json", "model.safetensors", "README.md"
    }  # fmt: skip
    described = json.loads((run / "model/model.json").read_text())
    assert (
        described["classes"]
        == list(COLORS)
        == json.loads((run / "run.json").read_text())["classes"]
    )
    assert (described["net"], described["net_args"]) == ("cnn13_slim", {"width": 4})
    assert described["license"] == {"weights": None, "data": None}
    card = (run / "model/README.md").read_text()
    assert "# metasemi on image_folder, 6 labels" in card
    assert "blue, green, red" in card
    assert "**Test error**" in card
    (error,) = described["run"]["errors"].values()
    assert f"| 6 | {error:.2f} |" in card
    table = np.array(described["run"]["confusion"]["test"])
    assert (table.sum(1) == 5).all()
    assert 100 * (1 - table.trace() / 15) == pytest.approx(error)
    assert error > 0
    true, taken_for = divmod(int((table - 99 * np.eye(3, dtype=int)).argmax()), 3)
    names = list(COLORS)
    assert f"| {names[true]} | {names[taken_for]} | {table[true, taken_for]} of 5 |" in card


def test_overwrite_replaces_the_model_and_nothing_that_a_run_has_not_written(photos, run):
    (run / "model" / "mine.txt").write_text("kept")
    given = options(photos, run.parent, overwrite=True)
    try:
        with pytest.raises(UserError, match=r"holds what no run writes \(model\)"):
            train(**given)
    finally:
        (run / "model" / "mine.txt").unlink()
    assert train(**given)["iterations"] == 6


def test_predict_writes_a_table_and_names_what_it_cannot_read(run, photos, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    shutil.copytree(photos / "test", pictures)
    (pictures / "broken.png").write_bytes(b"no picture")
    words = ["--csv", str(tmp_path / "out.csv"), "--page", str(tmp_path / "out.html"), "--top", "2"]
    assert main(["predict", str(run), str(pictures), *words]) == 1
    said = capsys.readouterr()
    assert "1 files could not be read:\n" in said.err
    assert "broken.png: cannot identify image file" in said.err
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    expected = load(run).predict([row["file"] for row in rows])
    assert [row["class"] for row in rows] == expected.classes
    assert len(rows) == 15
    for row, probabilities in zip(rows, expected.probabilities, strict=True):
        two = sorted(probabilities.tolist())[:-3:-1]
        assert float(row["confidence"]) == pytest.approx(two[0], abs=1e-6)
        assert float(row["confidence_2"]) == pytest.approx(two[1], abs=1e-6)
    page = (tmp_path / "out.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 15
    least = min(rows, key=lambda row: float(row["confidence"]))
    assert page.index(least["file"]) == min(page.index(row["file"]) for row in rows)
    assert "http" not in page


def test_doubtful_images_are_moved_and_none_is_lost(run, photos, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    shutil.copytree(photos / "test", pictures)
    words = ["predict", str(run), str(pictures), "--csv", str(tmp_path / "out.csv")]
    assert main([*words, "--move-below", "1"]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 15
    assert all(Path(row["file"]).exists() for row in rows)
    assert {Path(row["file"]).parent.name for row in rows} == {"_unsure"}
    for row in rows:
        shutil.copy(row["file"], Path(row["file"]).parents[1])
    with pytest.raises(SystemExit):
        main([*words, "--move-below", "2"])
    assert main([*words, "--move-below", "1"]) == 2  # one of that name is there
    assert "is there already: nothing has been moved" in capsys.readouterr().err
    assert len(list(pictures.rglob("*.png"))) == 30
    assert len(list(pictures.rglob("_unsure/*.png"))) == 15


def test_1000_images_of_which_3_are_broken(run, tmp_path, capsys):
    """A batch of nothing but broken ones is among them."""
    pixels = np.random.default_rng(0).integers(0, 256, (18, 18, 3), dtype=np.uint8)
    for i in range(1000):
        Image.fromarray(np.roll(pixels, i)).save(tmp_path / f"{i:04}.png")
    for broken in ("0000", "0001", "0999"):
        (tmp_path / f"{broken}.png").write_bytes(b"")
    words = ["--csv", str(tmp_path / "out.csv"), "--batch-size", "2"]
    assert main(["predict", str(run), str(tmp_path), *words]) == 1
    said = capsys.readouterr().err
    assert "3 files could not be read" in said
    assert all(f"{name}.png: " in said for name in ("0000", "0001", "0999"))
    files = [Path(row["file"]).stem for row in csv.DictReader((tmp_path / "out.csv").open())]
    assert files == [f"{i:04}" for i in range(2, 999)]


def test_the_benchmark_predicts_all_images(run, photos):
    lines = predict.measure(run, photos / "test", rounds=1, batch_size=4).splitlines()
    assert lines[0].startswith("| 15 images |")
    assert len(lines) == 4
    assert lines[2].endswith("| 1.00 |")

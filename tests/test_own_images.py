"""docs/own_images.md: its commands, one after the other, on a folder of pictures."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from metasemi_plugin.cli import main
from metasemi_plugin.cli.train import main as train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/own_images.md").read_text(encoding="utf-8")
# Seconds instead of minutes.
SHORT = shlex.split(
    "--num_train_iter 4 --num_eval_iter 2 --img_size 16 --batch_size 4 --device cpu"
)
COLORS = {"cat": (200, 80, 60), "dog": (60, 80, 200)}


def pictures():
    rng = np.random.default_rng(0)
    for part, numbers in (("train", (5, 3)), ("test", (4, 4)), ("unlabeled", (6, 6))):
        for (name, color), number in zip(COLORS.items(), numbers, strict=True):
            folder = Path("photos", part, "" if part == "unlabeled" else name)
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(number):
                noise = rng.integers(-60, 60, (20, 24, 3))
                pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}{i}.jpg")


def correct():
    """What a person does with page and table: the names of the files know better."""
    doubtful = pd.read_csv("predictions.csv").sort_values("confidence").head(4)
    lines = [f"{file},{Path(file).name[:3]}" for file in doubtful["file"]]
    folders = re.findall(r"^    (photos/\S+,\w+)$", PAGE, re.MULTILINE)
    assert len(folders) == 2
    Path("labels.csv").write_text("\n".join(["file,class", *lines, *folders]), encoding="utf-8")


def test_the_walk(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    pictures()
    commands = [
        shlex.split(line)
        for line in re.findall(r"^    (python (?:train.py|-m) .*)$", PAGE, re.MULTILINE)
    ]
    for _, script, *words in commands:
        if script == "train.py":
            if "labels.csv" in words:
                correct()
            assert train([*words, *SHORT]) == 0, capsys.readouterr().err
        else:
            assert main(words[1:]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "8 labeled images found: 5 cat, 3 dog" in said
    assert re.search(r"12 labeled images found: \d+ cat, \d+ dog", said)
    assert "begins with the model saved_models/photos (metasemi)" in said
    for name in ("predictions.csv", "predictions_2.csv"):
        assert len(pd.read_csv(name)) == 12
    assert len([line for line in said.splitlines() if line.startswith("photos")]) >= 2
    assert {word for command in commands for word in command} > {"predict", "ls", "labels.csv"}

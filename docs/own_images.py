"""What it is worth to correct the most doubtful predictions: the table of own_images.md.

    python docs/own_images.py --data_dir data --seeds 0 1 2

Fashion-MNIST takes the place of somebody's photos: 10 images of each class are labeled, 10,000
others are not; its own labels take the place of the person who looks at the most doubtful 100. The
commands are those of own_images.md. What is there already in --folder is not made again.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
import torchvision
from PIL import Image

from metasemi_plugin import train
from metasemi_plugin.cli import main as command
from metasemi_plugin.run_folder.layout import recorded

CONFIG = Path(__file__).parents[1] / "config/metasemi/folder_example.yaml"
PER_CLASS, UNLABELED, LOOKED_AT = 10, 10_000, 100
LABELS = {"labels as they are": "all", "100 most doubtful corrected": "doubtful.csv",
          "100 others labeled": "random.csv"}  # fmt: skip


def main() -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description="See own_images.md.")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--folder", type=Path, default=Path("saved_models/own_images"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    errors: dict[str, list[float]] = {name: [] for name in LABELS}
    wrong = []
    for seed in given.seeds:
        folder = given.folder / str(seed)
        truth = photos(given.data_dir / "fashion_mnist", folder / "photos", seed)
        for name, labels in LABELS.items():
            source = labels if labels == "all" else str(folder / labels)
            errors[name].append(error(folder, name.replace(" ", "_"), seed, source))
            if labels == "all":
                wrong.append(look(folder, name.replace(" ", "_"), truth, seed))
    print(f"| labels | test error, % ({len(given.seeds)} seeds) |\n|---|---|")
    for name, found in errors.items():
        spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        print(f"| {name} | {statistics.fmean(found):.2f}{spread} |")
    print(f"\nOf the {LOOKED_AT} most doubtful {statistics.fmean(wrong):.0f} were wrong.")


def photos(source: Path, folder: Path, seed: int) -> dict[str, str]:
    """The folder of pictures; file in unlabeled/ -> class, which nothing but `look` sees."""
    parts = [torchvision.datasets.FashionMNIST(source, train=t, download=True) for t in (1, 0)]
    names = [name.replace("/", " or ").lower() for name in parts[0].classes]
    targets = parts[0].targets.numpy()
    order = np.random.default_rng(seed).permutation(len(targets))
    labeled = np.concatenate([order[targets[order] == c][:PER_CLASS] for c in range(len(names))])
    rest = np.setdiff1d(order, labeled, assume_unique=True)[:UNLABELED]
    if not folder.exists():
        for place, part in ((labeled, "train"), (rest, "unlabeled")):
            for i in place:
                where = folder / part / ("" if part == "unlabeled" else names[targets[i]])
                save(parts[0].data[i].numpy(), where / f"{i}.png")
        for i, (pixels, target) in enumerate(zip(parts[1].data, parts[1].targets, strict=True)):
            save(pixels.numpy(), folder / "test" / names[target] / f"{i}.png")
    return {str(folder / "unlabeled" / f"{i}.png"): names[targets[i]] for i in rest}


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def error(folder: Path, name: str, seed: int, labels: str) -> float:
    """The last test error, in percent, of the run with these labels."""
    if recorded(folder / name).get("status") != "complete":
        train(str(CONFIG), data_dir=str(folder / "photos"), num_classes=10, img_size=28,
              net_args={"width": 16}, labels=labels, seed=seed, save_dir=str(folder),
              save_name=name, overwrite=True)  # fmt: skip
    return recorded(folder / name)["test"]["last"]


def look(folder: Path, run: str, truth: dict[str, str], seed: int) -> int:
    """Write the CSV files of a person who has looked at 100 images; how many were wrong."""
    command(["predict", str(folder / run), str(folder / "photos/unlabeled"),
             "--csv", str(folder / "predictions.csv")])  # fmt: skip
    with open(folder / "predictions.csv", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["confidence"]))
    doubtful = rows[:LOOKED_AT]
    others = np.random.default_rng(seed).choice(len(rows), LOOKED_AT, replace=False)
    for name, looked_at in (("doubtful", doubtful), ("random", [rows[i] for i in others])):
        known = sorted((folder / "photos/train").iterdir())
        lines = [(path.absolute(), path.name) for path in known]
        lines += [(Path(row["file"]).absolute(), truth[row["file"]]) for row in looked_at]
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("file", "class"), *lines])
    return sum(row["class"] != truth[row["file"]] for row in doubtful)


if __name__ == "__main__":
    main()

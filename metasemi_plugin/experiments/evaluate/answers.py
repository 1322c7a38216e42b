"""What a model answers, of the images of its run or of those of a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import metasemi_plugin
from metasemi_plugin.data.class_folders import folders_in, images_below, some
from metasemi_plugin.errors import UserError
from metasemi_plugin.model.predictor import Predictor
from metasemi_plugin.run_folder.layout import CONFIG


class Answers(NamedTuple):
    """Of N images.

    Attributes:
        on: what images they are: "test", "validation", or a folder.
        targets: int64 (N,).
        probabilities: float64 (N, C).
        recorded: the error in percent that the run has of the same images; None if of others.
    """

    on: str
    targets: np.ndarray
    probabilities: np.ndarray
    recorded: float | None = None


def answers(predictor: Predictor, run: Path, data_dir: Path | None, batch_size: int) -> Answers:
    """The answers on the test images of a run, else on its validation images; or on other images.

    Args:
        predictor: of the run.
        run: its folder; with class folders in `data_dir`, a model folder is as good.
        data_dir: class folders, in it or in its folder test/; of a run on another data set than a
            folder of images it may also be where that data set is.
        batch_size: images a pass, of class folders; else it is the run's own.

    Raises:
        UserError: there are no images, or class folders that the model does not know.
    """
    if data_dir is None:
        return _of_run(predictor, run, {})
    folder = data_dir / "test" if (data_dir / "test").is_dir() else data_dir
    if not folder.is_dir():
        raise UserError(f"--data_dir {data_dir} is not a folder")
    names = folders_in(folder)
    own_folders = predictor.description.run["dataset"] == "image_folder"
    if own_folders or set(names) & set(predictor.classes) or not (run / CONFIG).exists():
        return _of_folder(predictor, folder, names, batch_size)
    moved = _of_run(predictor, run, {"data_dir": str(data_dir)})
    return moved._replace(recorded=None)


def _of_run(predictor: Predictor, run: Path, changes: dict[str, str]) -> Answers:
    if not (run / CONFIG).exists():
        raise UserError(
            f"{run} is no run folder, and does not say on what images to evaluate: add --data_dir "
            "with a folder for each class"
        )
    metasemi_plugin.register()
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.datasets import build_splits

    args = resolve(str(run / CONFIG), {"resume": True, **changes})
    built = build_splits(args)
    part, on = ("test", "test") if built.parts["test"] else ("eval", built.chosen_on)
    targets, logits = [], []
    loader = torch.utils.data.DataLoader(built.parts[part], args.eval_batch_size)  # type: ignore[arg-type]
    for batch in loader:
        targets.append(batch["y_lb"].numpy())
        logits.append(predictor.logits(batch["x_lb"]))
    # In double precision the order of a row's logits stays that of its probabilities.
    probabilities = torch.cat(logits).double().softmax(1).numpy()
    recorded = predictor.description.run["errors"].get(on)
    return Answers(on, np.concatenate(targets), probabilities, recorded)


def _of_folder(
    predictor: Predictor, folder: Path, names: Sequence[str], batch_size: int
) -> Answers:
    if unknown := [name for name in names if name not in predictor.classes]:
        raise UserError(
            f"{folder} has folders that are no classes of the model: {some(unknown)}; it knows "
            f"{some(predictor.classes)}"
        )
    if not names:
        raise UserError(f"{folder} has no folders: expected one for each class")
    listed = {name: images_below(folder / name) for name in names}
    targets = [predictor.classes.index(name) for name, files in listed.items() for _ in files]
    images = [file for files in listed.values() for file in files]
    found = predictor.predict(images, batch_size)
    return Answers(str(folder), np.array(targets), found.probabilities.double().numpy())

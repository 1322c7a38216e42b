"""The answers of a trained net: on the images that its run was scored on, or on folders."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from metasemi_plugin.data.class_folders import labeled_images
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.evaluate.scores import Answers
from metasemi_plugin.model.predictor import Predictor
from metasemi_plugin.run_folder.layout import CONFIG


def on_own(run: Path, predictor: Predictor) -> tuple[str, Answers]:
    """On the test images of the run, or its validation images where it has no others.

    Batches are those of the run's own evaluation, so that sums have the same order.

    Returns:
        "test" or "validation", and the answers.

    Raises:
        UserError: a model by itself has no data; those of the run are gone.
    """
    if not (run / CONFIG).exists():
        raise UserError(
            f"{run} is a model by itself and does not say where its data are: add --data_dir DIR, "
            "a folder of class folders"
        )
    import metasemi_plugin  # semilearn is not needed before
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.datasets import build_splits

    metasemi_plugin.register()
    args = resolve(str(run / CONFIG), {"resume": True, "device": "cpu"})
    built = build_splits(args)
    name, part = "test", built.parts["test"]
    if part is None:
        name, part = built.chosen_on, built.parts["eval"]
    assert part is not None
    found = [
        (predictor.logits(batch["x_lb"]), batch["y_lb"])
        for batch in tqdm(DataLoader(part, args.eval_batch_size), unit=" batches", disable=None)
    ]
    logits, targets = (torch.cat(parts) for parts in zip(*found, strict=True))
    shares = logits.double().softmax(1)
    return name, Answers(shares.numpy(), logits.argmax(1).numpy(), targets.numpy())


def on_folders(root: Path, predictor: Predictor) -> Answers:
    """On the images of root/<class>/, or of root/test/<class>/.

    Raises:
        UserError: see `labeled_images` and `Predictor.predict`.
    """
    files, targets = zip(
        *labeled_images(root, predictor.classes, predictor.description.channels), strict=True
    )
    shares = predictor.predict(files).probabilities.double()
    return Answers(shares.numpy(), shares.argmax(1).numpy(), np.array(targets))

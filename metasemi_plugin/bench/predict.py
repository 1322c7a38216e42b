"""What `predict` costs beside the passes of the net: images are read and decoded ahead of them."""

from pathlib import Path

import numpy as np

from metasemi_plugin.bench.timing import interleaved, median_ms, ratio
from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.model.predictor import Predictor, files_of, load


def measure(model: Path, images: Path, rounds: int, batch_size: int) -> str:
    """Markdown: images a second of `Predictor.batches` on files, and of bare passes on pixels."""
    predictor = load(model)
    files = files_of([images], predictor.description.channels)
    passes = _bare_passes(predictor, files, batch_size)
    rows = {
        "bare passes on decoded pixels": passes,
        "predict": lambda: list(predictor.batches(files, batch_size)),
    }
    times = interleaved(rows, rounds)
    bare = next(iter(rows))
    return markdown_table(
        (f"{len(files)} images", "images a second", "time, bare passes = 1"),
        [
            (name, f"{1e3 * len(files) / median_ms(times, name):.0f}",
             f"{ratio(times, name, bare):.2f}")
            for name in rows
        ],
    )  # fmt: skip


def _bare_passes(predictor: Predictor, files: list[str], batch_size: int):
    decoded = [predictor.pixels(file) for file in files]
    batches = [
        np.stack(decoded[start : start + batch_size])
        for start in range(0, len(decoded), batch_size)
    ]

    def passes() -> None:
        for pixels in batches:
            predictor.logits(predictor.inputs(pixels))

    return passes

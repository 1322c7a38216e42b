"""An evaluation as files, and as a table."""

import json
from pathlib import Path

from metasemi_plugin.experiments.evaluate.drawing import pictures
from metasemi_plugin.experiments.evaluate.measures import Measures
from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.run_folder import files
from metasemi_plugin.run_folder.layout import (
    BY_CONFIDENCE,
    CALIBRATION,
    CONFUSION,
    PER_CLASS,
    SUMMARY,
)

# Of the images, how many are answered.
SHARES = (1.0, 0.9, 0.75, 0.5)


def write(found: Measures, on: str, out: Path) -> None:
    """CSV files, pictures and SUMMARY into `out`, which is made if need be; last the summary."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        CONFUSION: found.confusion,
        PER_CLASS: found.per_class,
        CALIBRATION: found.calibration.set_index("above"),
        BY_CONFIDENCE: found.by_confidence.set_index("at_least"),
    }
    for name, table in tables.items():
        files.replace(out / f"{name}.csv", table.to_csv(lineterminator="\n").encode())
    for name, png in pictures(found).items():
        files.replace(out / f"{name}.png", png)
    summary = {"on": on, "images": int(found.per_class["images"].sum()), "error": found.error,
               "expected_calibration_error": found.calibration_error}  # fmt: skip
    files.replace(out / SUMMARY, f"{json.dumps(summary, indent=2)}\n".encode())


def text(found: Measures, on: str) -> str:
    """The same for people: the error, each class, and the error of the most confident answers."""
    rows = [
        (str(name), f"{row['images']:.0f}", *(_percent(row[key]) for key in _SCORES))
        for name, row in found.per_class.iterrows()
    ]
    curve = found.by_confidence
    lines = [
        f"{found.per_class['images'].sum()} images ({on}): error {found.error:.2f} %, expected "
        f"calibration error {100 * found.calibration_error:.2f} %",
        "",
        markdown_table(("class", "images", *(f"{key}, %" for key in _SCORES)), rows),
        "",
    ]
    for share in SHARES:
        row = curve[curve["share"] >= share].iloc[0]
        lines.append(
            f"the {100 * row['share']:.0f} % most confident (at least {row['at_least']:.3f}): "
            f"error {row['error']:.2f} %"
        )
    return "\n".join(lines)


_SCORES = ("precision", "recall", "f1")


def _percent(share: float) -> str:
    return "" if share != share else f"{100 * share:.1f}"

"""What a run came to: errors in percent."""

import statistics
from pathlib import Path


def results(history: list[dict], chosen_on: str) -> dict[str, object]:
    """The errors that a run came to, in percent, on eval and on test, chosen on eval.

    Where there are no validation images, eval is the test set; test is None where there is none.
    """
    if not history:
        return {"chosen_on": None, "eval": None, "test": None}
    best = min(history, key=lambda scores: scores["eval"])
    test = "test" if "test" in best else "eval" if chosen_on == "test" else None

    def of(part: str) -> dict[str, object]:
        return {
            "last": history[-1][part],
            "best": best[part],
            "best_iteration": best["it"],
            "median_last_20": statistics.median(scores[part] for scores in history[-20:]),
        }

    return {
        "chosen_on": chosen_on,
        "eval": of("eval"),
        "test": of(test) if test else None,
    }


def summarize(run: dict, folder: Path) -> dict:
    """What people want to know of a record: errors in percent, chosen on eval.

    None stands for those on validation or test images where there are no such images.
    """
    validation = run["eval"] if run["chosen_on"] == "validation" else {}
    test = run["test"] or {}
    return {
        **{
            k: run[k]
            for k in ("algorithm", "dataset", "num_labels", "seed", "iterations", "bad_steps")
        },
        "chosen_on": run["chosen_on"],
        "last_validation_error": validation.get("last"),
        "best_validation_error": validation.get("best"),
        "median_last_20_validation_error": validation.get("median_last_20"),
        "last_error": test.get("last"),
        "best_error": test.get("best"),
        "best_iteration": run["eval"]["best_iteration"],
        "median_last_20_error": test.get("median_last_20"),
        "seconds": round(run["seconds"], 1),
        "folder": str(folder),
    }

"""What has become of a run."""

from pathlib import Path

from metasemi_plugin.run_folder.layout import RUN, recorded
from metasemi_plugin.run_folder.lock import holder


def status(folder: Path, run: dict) -> str:
    """Of a run folder and its run.json, {} where there is none that can be read.

    Returns:
        "complete", "running", "cut off" (killed, and nobody is at it), "interrupted", "failed",
        "damaged" (it cannot be read), or "missing".
    """
    said = run.get("status", "damaged" if (folder / RUN).exists() else "missing")
    if said == "running" and holder(folder) is None:
        # It may have ended since it was read.
        return "cut off" if recorded(folder) == run else status(folder, recorded(folder))
    return said


def latest_error(run: dict) -> tuple[float, str] | None:
    """The last error, in percent, of run.json and on which images: "test", else "validation"."""
    of = run.get("test") or run.get("eval")
    return (of["last"], "test" if run["test"] else run["chosen_on"]) if of else None

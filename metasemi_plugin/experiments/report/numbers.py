"""The arithmetic of the tables. Errors are in percent, times in seconds."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from metasemi_plugin.experiments.report.entries import Entry, varied_text

# What is told of a run: name -> what it is called.
ERRORS = {"last": "last", "median_last_20": "median of last 20", "best": "best"}


def errors(run: dict) -> dict[str, float]:
    """Errors that a record tells of, see `host.record.results`; {} before the first evaluation.

    On test images, or on validation images where there are none; `Entry.error_on` says which.
    """
    return run.get("test") or run.get("eval") or {}


def scored(metrics: pd.DataFrame) -> pd.Series:
    """The error at each evaluation: on test images, or on validation images where there are none.

    `Entry.error_on` says which.
    """
    return metrics["test" if "test" in metrics else "eval"]


def at_time(metrics: pd.DataFrame, seconds: float) -> float:
    """The error at the last evaluation within ``seconds`` of training; nan if none was."""
    within = scored(metrics)[metrics["seconds"] <= seconds]
    return within.iloc[-1] if len(within) else math.nan


def common_time(entries: Sequence[Entry]) -> float | None:
    """The largest training time that all complete runs reached; None without such a run."""
    ends = [e.record.metrics["seconds"].iloc[-1] for e in entries if _judged(e)]
    return min(ends, default=None)


def runs(entries: Sequence[Entry], budget: float | None = None) -> pd.DataFrame:
    """One line a run, whatever its status: results.csv.

    Args:
        entries: the runs.
        budget: training time at which ``error_at_time`` is read; None: by column, the largest
            that all its complete runs reached.
    """
    times = {
        column: common_time([e for e in entries if e.column == column])
        if budget is None
        else budget
        for column in {e.column for e in entries}
    }
    made = pd.DataFrame([_line(entry, times[entry.column]) for entry in entries])
    return made.astype(dict.fromkeys(MEASURED, float))


# Columns of numbers that a run may not have yet.
MEASURED = [*(f"error_{name}" for name in ERRORS), "error_at_time", "best_iteration", "time",
             "seconds", "seconds_per_iteration", "peak_memory_mb"]  # fmt: skip


def _line(entry: Entry, time: float | None) -> dict[str, object]:
    run, metrics = entry.record.run, entry.record.metrics
    own = errors(run)
    hardware, git = run.get("hardware", {}), run.get("git", {})
    return {
        "column": entry.column,
        "row": entry.row,
        "varied": varied_text(entry.varied),
        "seed": entry.seed,
        "status": entry.record.status,
        "algorithm": entry.config.get("algorithm"),
        "dataset": entry.config.get("dataset"),
        "num_labels": entry.config.get("num_labels"),
        "net": entry.config.get("net"),
        "iterations": run.get("iterations", 0),
        "num_train_iter": run.get("num_train_iter", entry.config.get("num_train_iter")),
        "chosen_on": run.get("chosen_on"),
        "error_on": entry.error_on,
        **{f"error_{name}": own.get(name, math.nan) for name in ERRORS},
        "best_iteration": own.get("best_iteration", math.nan),
        "time": math.nan if time is None else time,
        "error_at_time": at_time(metrics, time) if own and time is not None else math.nan,
        "seconds": run.get("seconds", math.nan),
        "seconds_per_iteration": run.get("seconds_per_iteration", math.nan),
        "peak_memory_mb": run.get("peak_memory_mb", math.nan),
        "started": run.get("started"),
        "ended": run.get("ended"),
        "commit": git.get("commit"),
        "dirty": git.get("dirty"),
        "device": hardware.get("name"),
        "folder": entry.record.folder.as_posix(),
        "why": run.get("error"),
        "settings": json.dumps(entry.settings) if entry.settings else None,
        "hardware": json.dumps(hardware) if run else None,
        "versions": json.dumps(run["versions"]) if run else None,
    }


# Of the complete runs of a cell.
_AVERAGED = [*(f"error_{name}" for name in ERRORS), "error_at_time"]


def cells(runs: pd.DataFrame) -> pd.DataFrame:
    """One line a cell (column, row, varied), in order of appearance.

    ``runs`` is the number of its runs and ``n`` that of the complete ones, of which all else is
    made: ``error_*`` means, ``error_*_std`` sample standard deviations (n - 1; nan for one run),
    the mean of seconds an iteration, and the largest peak memory.
    """
    keys = ["column", "row", "varied"]
    made = []
    for key, group in runs.groupby(keys, sort=False):
        done = group[group["status"] == "complete"]
        cell = dict(zip(keys, key, strict=True)) | {"runs": len(group), "n": len(done)}
        for name in _AVERAGED:
            cell |= {name: done[name].mean(), f"{name}_std": done[name].std(ddof=1)}
        cell["time"] = group["time"].iloc[0]
        cell["seconds_per_iteration"] = done["seconds_per_iteration"].mean()
        cell["peak_memory_mb"] = done["peak_memory_mb"].max()
        for name in ("algorithm", "dataset", "num_labels", "net", "chosen_on", "error_on"):
            cell[name] = group[name].dropna().iloc[0] if group[name].notna().any() else None
        made.append(cell)
    return pd.DataFrame(made)


def paired(runs: pd.DataFrame, against: str) -> pd.DataFrame:
    """What the rows of a column differ by from one of them, seed by seed.

    Args:
        runs: lines of `runs`, of one column.
        against: name of the row that is subtracted.

    Returns:
        Indexed by name, in order of appearance: n, the seeds that both have completed; mean
        difference of the last errors; low and high, its 95 % interval (Student's t, n - 1 degrees
        of freedom); p of no difference, by Holm's method over the rows (Scand. J. Statist. 1979).
        Without lines where the errors are on other images or no seed is shared; nan for one seed.
    """
    done = runs[runs["status"] == "complete"]
    done = done.assign(name=[name_of(line) for _, line in done.iterrows()])
    images = done.loc[done["name"] == against, "error_on"]
    done = done[done["error_on"].isin(images)]
    errors = done.pivot_table(index="seed", columns="name", values="error_last", sort=False)
    lines = {}
    for name in errors.columns.drop(against, errors="ignore"):
        gaps = (errors[name] - errors[against]).dropna()
        if n := len(gaps):
            lines[name] = {"n": n, "mean": gaps.mean(), **_student(gaps)}
    columns = ["n", "mean", "low", "high", "p"]
    found = pd.DataFrame.from_dict(lines, orient="index", columns=columns).astype(float)
    ranked = found["p"].dropna().sort_values()
    found["p"] = (ranked * np.arange(len(ranked), 0, -1)).clip(upper=1).cummax()
    return found


def _student(gaps: pd.Series) -> dict[str, float]:
    """Interval and p of a mean of 0; nan for one value."""
    from scipy import stats  # here, because it takes half a second

    n, mean, std = len(gaps), gaps.mean(), gaps.std(ddof=1)
    if n < 2:
        return dict.fromkeys(("low", "high", "p"), math.nan)
    half = half_interval(std, n)
    p = 2 * stats.t.sf(abs(mean) / std * math.sqrt(n), n - 1) if std else float(mean == 0)
    return {"low": mean - half, "high": mean + half, "p": p}


def half_interval(std: float, n: int) -> float:
    """Half of the 95 % interval (Student's t, n - 1) of a mean of n values; nan for one."""
    from scipy import stats

    return stats.t.ppf(0.975, n - 1) * std / math.sqrt(n) if n > 1 else math.nan


def name_of(line: Mapping[str, str] | pd.Series) -> str:
    """The row and what is varied in it, of a line of `runs` or `cells`."""
    return ", ".join(filter(None, [line["row"], line["varied"]]))


def mean_curve(curves: Sequence[pd.DataFrame], value: str) -> pd.DataFrame:
    """Mean and sample standard deviation over seeds at the iterations that all of them have.

    Returns:
        Indexed by iteration: seconds (mean), mean, std (0 for one run).
    """
    kept = [curve.dropna(subset=[value]) for curve in curves if value in curve]
    if not kept:
        return pd.DataFrame({"seconds": [], "mean": [], "std": []})
    by_it = pd.concat(kept).groupby("it")
    found = pd.DataFrame(
        {
            "seconds": by_it["seconds"].mean(),
            "mean": by_it[value].mean(),
            "std": by_it[value].std(ddof=1).fillna(0),
        }
    )
    return found[by_it.size() == len(kept)]


def _judged(entry: Entry) -> bool:
    return entry.complete and not entry.record.metrics.empty

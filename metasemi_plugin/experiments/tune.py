"""Beta by cross-validation on the labeled images alone, as in the paper (Appendix D)."""

import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import metasemi_plugin
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.compare import make
from metasemi_plugin.experiments.executors import Executor
from metasemi_plugin.experiments.suite import Run, Suite
from metasemi_plugin.host.config import options, resolve
from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.run_folder import files
from metasemi_plugin.run_folder.layout import recorded


def suite_of_folds(
    config: Path, betas: Sequence[float], folds: int, name: str, overrides: Mapping[str, object]
) -> Suite:
    """A run for each value of mixup_beta and each fold of the labeled images left out.

    Raises:
        UserError: the configuration is wrong, or its algorithm has no mixup_beta.
    """
    if folds < 2 or len(set(betas)) < len(betas):
        raise UserError("--folds must be at least 2, and --betas different numbers")
    metasemi_plugin.register()
    shared: dict[str, object] = {
        "save_dir": f"saved_models/{name}",
        **overrides,
        "label_folds": folds,
    }
    args = resolve(str(config), shared)
    if "mixup_beta" not in options(args.algorithm):
        raise UserError(f"{config}: {args.algorithm} has no mixup_beta to choose")
    runs = []
    for beta in betas:
        for fold in range(folds):
            varied: dict[str, object] = {"mixup_beta": beta, "label_fold": fold}
            its_name = "_".join(f"{key}={value}" for key, value in varied.items())
            given = shared | varied | {"save_name": its_name}
            made = resolve(str(config), given)
            runs.append(
                Run(f"{folds} folds", args.algorithm, args.seed, varied, config, given, made)
            )
    return Suite(name, name, None, runs)


def tune(suite: Suite, executor: Executor, jobs: int, overwrite: bool = False) -> dict | None:
    """Make the folds that are missing; print the table, and write tune.json and tune.png.

    Returns:
        What tune.json says, or None if a fold failed: then nothing is chosen.

    Raises:
        UserError: something is in the way of a run.
        KeyboardInterrupt: after the runs under way have stopped; calling again goes on.
    """
    folder = suite.runs[0].folder.parent
    files.expect_ours(folder, "tune.json", "tune.png")
    if make(suite, executor, jobs, overwrite):
        return None
    found = choose([(run, recorded(run.folder)) for run in suite.runs])
    files.replace(folder / "tune.json", f"{json.dumps(found, indent=2)}\n".encode())
    files.replace(folder / "tune.png", draw(found))
    print(table(found))
    print(f"chosen: mixup_beta {found['chosen']:g} ({folder / 'tune.json'}, {folder / 'tune.png'})")
    return found


def choose(records: Sequence[tuple[Run, dict]]) -> dict:
    """The beta with the least mean error on the folds; of equals, the least.

    The error of a fold is the median of the last 20 evaluations: a fold is small, and one
    evaluation jumps by whole images.
    """
    first, record = records[0]
    errors: dict[float, list[float]] = {}
    for run, of_run in records:
        errors.setdefault(run.args.mixup_beta, []).append(of_run["eval"]["median_last_20"])
    means = {beta: statistics.fmean(errors[beta]) for beta in sorted(errors)}
    rows = [
        {
            "mixup_beta": beta,
            "errors": errors[beta],
            "mean": mean,
            "std": statistics.stdev(errors[beta]),
        }
        for beta, mean in means.items()
    ]
    return {
        "config": str(first.config),
        **{key: record[key] for key in ("algorithm", "dataset", "num_labels", "seed", "git")},
        "folds": first.args.label_folds,
        "chosen": min(means, key=means.__getitem__),
        "rows": rows,
    }


def table(found: dict) -> str:
    """Markdown: a row a beta, the errors of its folds in percent."""
    folds = range(found["folds"])
    head = ["mixup_beta", *(f"fold {fold}" for fold in folds), "mean ± std"]
    lines = []
    for row in found["rows"]:
        cells = [f"{row['mixup_beta']:g}", *(f"{error:.2f}" for error in row["errors"])]
        lines.append([*cells, f"{row['mean']:.2f} ± {row['std']:.2f}"])
    return markdown_table(head, lines, numeric=range(len(head)))


def draw(found: dict) -> bytes:
    """PNG of the mean error on the folds, with its standard deviation, against beta."""
    from matplotlib.figure import Figure

    rows = found["rows"]
    betas = [row["mixup_beta"] for row in rows]
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        betas, [row["mean"] for row in rows], [row["std"] for row in rows], fmt="ko-", capsize=4
    )
    axes.axvline(found["chosen"], color="0.6", linestyle="--", zorder=0)
    axes.set_xlabel("mixup_beta")
    axes.set_ylabel(f"error on {found['folds']} folds, mean ± std (%)")
    axes.set_title(f"{found['algorithm']} on {found['dataset']}, {found['num_labels']} labels")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150)
    return buffer.getvalue()

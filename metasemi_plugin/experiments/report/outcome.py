"""Pictures of what training comes to: at a fixed time, against its cost, over a parameter."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from metasemi_plugin.experiments.report.drawing import (
    Picture,
    Row,
    figure_of,
    from_zero,
    kind_of_error,
    legend_beside,
    panel_of_rows,
    picture_of,
)
from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.report.numbers import name_of


def at_time(column: str, cells: pd.DataFrame) -> Iterator[Picture]:
    """Error at a fixed training time, and at the end (Table 5)."""
    drawn = cells.dropna(subset=["error_at_time"]).sort_values("error_at_time", ascending=False)
    if len(drawn) < 2:
        return
    names = [name_of(cell) for cell in drawn.to_dict("records")]
    error = kind_of_error(drawn["error_on"])
    time = drawn["time"].iloc[0]
    figure, panel = panel_of_rows(names)
    places = range(len(drawn))
    panel.errorbar(drawn["error_last"], places, fmt="D", color="0.55", markerfacecolor="white",
                   label="at the end of training")  # fmt: skip
    panel.errorbar(drawn["error_at_time"], places, xerr=drawn["error_at_time_std"].fillna(0),
                   fmt="o", color="black", capsize=3, label=f"after {time:.0f} s")  # fmt: skip
    panel.set_xlabel(f"{error}, %")
    legend_beside(panel)
    said = [f"{n} {e:.2f} %" for n, e in zip(names, drawn["error_at_time"], strict=True)]
    yield picture_of(
        figure,
        f"error at fixed time {column}",
        f"{error.capitalize()} after the same training time, {column}",
        f"Last evaluation within {time:.0f} s of training. Mean over the seeds; bars are one "
        "sample standard deviation.",
        f"{error.capitalize()} after {time:.0f} s on {column}: {', '.join(reversed(said))}.",
    )


def cost(column: str, rows: Sequence[Row], cells: pd.DataFrame) -> Iterator[Picture]:
    """Seconds an iteration against error."""
    drawn = cells.dropna(subset=["error_last", "seconds_per_iteration"])
    if len(drawn) < 2:
        return
    styles = {row.name: row for row in rows}
    error = kind_of_error(drawn["error_on"])
    figure = figure_of(7.2, 4.0)
    panel = figure.subplots()
    handles = []
    for cell in drawn.sort_values("error_last", ascending=False).to_dict("records"):
        row = styles[name_of(cell)]
        spread = 0 if math.isnan(cell["error_last_std"]) else cell["error_last_std"]
        handles.append(
            panel.errorbar(
                1000 * cell["seconds_per_iteration"],
                cell["error_last"],
                yerr=spread,
                linestyle="none",
                **row.marker,
                color=row.style["color"],
                elinewidth=0.7,
                markersize=6,
                label=row.name,
            )
        )
    panel.set_xlim(left=0)
    from_zero(panel)
    panel.set_xlabel("ms an iteration")
    panel.set_ylabel(f"last {error}, %")
    legend_beside(panel, handles=handles)
    said = [
        f"{name_of(c)} {c['error_last']:.2f} % at {1000 * c['seconds_per_iteration']:.3g} ms"
        for c in drawn.to_dict("records")
    ]
    yield picture_of(
        figure,
        f"cost {column}",
        f"Cost against error, {column}",
        "Further left is cheaper, further down is better. Bars are one sample standard deviation "
        "over the seeds.",
        f"Cost of an iteration against last {error} on {column}: {', '.join(said)}.",
    )


def by_parameter(entries: Sequence[Entry], cells: pd.DataFrame) -> Iterator[Picture]:
    """Error against each varied parameter (Figure 3)."""
    varied = {(e.column, e.name): e.varied for e in entries if e.varied}
    for key in sorted({key for values in varied.values() for key in values}):
        lines: dict[str, list[tuple]] = {}
        on = set()
        for cell in cells.dropna(subset=["error_last"]).to_dict("records"):
            values = varied.get((cell["column"], name_of(cell)), {})
            if isinstance(values.get(key), int | float) and not isinstance(values[key], bool):
                rest = [f"{k}={v}" for k, v in values.items() if k != key]
                name = ", ".join([cell["row"], cell["column"], *rest])
                on.add(cell["error_on"])
                lines.setdefault(name, []).append(
                    (values[key], cell["error_last"], cell["error_last_std"])
                )
        lines = {name: sorted(points) for name, points in lines.items() if len(points) > 1}
        if not lines:
            continue
        error = kind_of_error(on)
        figure = figure_of(7.2, 3.6)
        panel = figure.subplots()
        for number, (name, points) in enumerate(lines.items()):
            row = Row(name, number, [])
            x, y, spread = zip(*points, strict=True)
            bars = [0 if math.isnan(s) else s for s in spread]
            panel.errorbar(x, y, yerr=bars, **row.marker, capsize=3, label=name, **row.style)
        panel.set_xlabel(key)
        panel.set_ylabel(f"last {error}, %")
        from_zero(panel)
        legend_beside(panel, handlelength=3.2)
        said = [
            f"{name}: " + ", ".join(f"{p[1]:.2f} % at {p[0]}" for p in points)
            for name, points in lines.items()
        ]
        yield picture_of(
            figure,
            f"error by {key}",
            f"{error.capitalize()} against {key}",
            f"Mean over the seeds of the last {error}; bars are one sample standard deviation.",
            f"Last {error} against {key}. {'; '.join(said)}.",
        )

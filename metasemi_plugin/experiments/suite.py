"""A suite: which runs are set side by side, read from a YAML file or made of configurations."""

import argparse
import copy
import functools
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import metasemi_plugin
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.names import more_are_known, wrong_names
from metasemi_plugin.config.resolve import resolve as resolve_by_itself
from metasemi_plugin.config.values import did_you_mean
from metasemi_plugin.config.yaml_files import load_mapping
from metasemi_plugin.errors import UserError

SEEDS = (0, 1, 2)
# What every run has of its own. The host's weight of the unsupervised loss is the method's to set.
RUNS_OWN = frozenset(
    {"algorithm", "ulb_loss_ratio", "sigmoid_ramp", "seed", "save_dir", "save_name"}
)
# A file and options -> what they resolve to.
Resolve = Callable[[str, Mapping[str, object]], argparse.Namespace]
Made = TypeVar("Made")
# A suite gives these to each run, so that nothing else may.
RESERVED = ("algorithm", "c", "base", "resume", "overwrite", "save_name", "seed")


class Run(NamedTuple):
    """One run of a suite: a row's configuration in a column, with one seed."""

    column: str
    row: str
    seed: int
    varied: dict[str, object]  # of what the row varies, this run's values
    config: Path
    options: dict[str, object]  # on top of the file, seed, save_dir and save_name among them
    args: argparse.Namespace  # what the file and the options resolve to

    def __str__(self) -> str:
        values = "".join(f", {key}={value}" for key, value in self.varied.items())
        return f"{self.column}, {self.row}{values}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.args.save_dir) / self.args.save_name

    @property
    def words(self) -> list[str]:
        """What follows ``train.py`` on the command line that makes this run."""
        words = ["--c", str(self.config)]
        for key, value in self.options.items():
            words += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
        return words


class Suite(NamedTuple):
    """Runs in the order of the file: by column, row, value varied, seed."""

    name: str
    title: str
    paper: str | None  # table of the paper whose numbers stand beside cells of the same name
    runs: list[Run]


class _Row(NamedTuple):
    column: str
    name: str
    config: Path
    options: dict[str, object]
    vary: dict[str, list]
    seeds: Sequence[int]  # empty: those of the suite


def load_suite(
    path: str | os.PathLike,
    seeds: Sequence[int] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Suite:
    """The runs that a file of ``config/suites`` describes.

    Args:
        path: the file. Paths in it are relative to it.
        seeds: in place of the file's and its rows'.
        overrides: options of every run; they win over the file's.

    Raises:
        UserError: the file or a run's configuration is wrong, or two rows of a column differ in
            more than the method; all problems together.
    """
    path = Path(path)
    content = load_mapping(path)
    problems = [f"unknown key {key!r}{did_you_mean(key, _KEYS)}" for key in content.keys() - _KEYS]
    problems += [
        f"{key}: expected {_KEYS[key][1]}, got {value!r}"
        for key, value in content.items()
        if key in _KEYS and not isinstance(value, _KEYS[key][0])
    ]
    if not content.get("columns"):
        problems.append("columns: a suite needs at least one column of runs")
    _complain(problems, f"{path}: ")

    usual = content.get("seeds", SEEDS)
    problems += _bad_seeds(usual if seeds is None else seeds)
    rows = list(_read_rows(content["columns"], path.parent, problems))
    shared, overrides = content.get("set", {}), dict(overrides or {})
    problems += [
        f"column {row.column!r}, row {row.name!r} varies {key}: leave it out of the command line"
        for row in rows
        for key in row.vary.keys() & overrides.keys()
    ]
    _complain(problems, f"{path}: ")
    rows = [
        row._replace(options=shared | row.options | overrides, seeds=seeds or row.seeds or usual)
        for row in rows
    ]
    may_differ = frozenset(content.get("may_differ", ()))
    runs = _looked_at_first(
        lambda resolve: _build(rows, path.stem, may_differ, resolve, f"{path}: ")
    )
    return Suite(path.stem, content.get("title", path.stem), content.get("paper"), runs)


# Key -> type of its value, and how to say that.
_KEYS: dict[str, tuple[type, str]] = {
    "title": (str, "text"),
    "paper": (str, "the name of a table of the paper"),
    "seeds": (list, "a list of whole numbers"),
    "set": (dict, "a mapping of options"),
    "may_differ": (list, "a list of options"),
    "columns": (dict, "a mapping of columns"),
}


def suite_of_configs(
    paths: Iterable[str | os.PathLike],
    name: str,
    seeds: Sequence[int] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Suite:
    """A suite made on the spot: a column for each data set and number of labels.

    A row is named by its algorithm, or by its file where a column has that algorithm twice.

    Raises:
        UserError: see `load_suite`.
    """
    options, seeds = dict(overrides or {}), SEEDS if seeds is None else seeds
    return _looked_at_first(lambda resolve: _of_configs(paths, name, seeds, options, resolve))


def _of_configs(
    paths: Iterable[str | os.PathLike],
    name: str,
    seeds: Sequence[int],
    options: dict[str, object],
    resolve: Resolve,
) -> Suite:
    rows, algorithms, problems = [], [], _bad_seeds(seeds)
    for path in paths:
        try:
            args = resolve(str(path), options)
        except UserError as error:
            problems.append(str(error))
            continue
        column = f"{args.dataset} {args.num_labels}"
        rows.append(_Row(column, Path(path).stem, Path(path), options, {}, seeds))
        algorithms.append(args.algorithm)
    _complain(problems)
    taken = Counter((row.column, name) for row, name in zip(rows, algorithms, strict=True))
    rows = [
        row._replace(name=algorithm) if taken[row.column, algorithm] == 1 else row
        for row, algorithm in zip(rows, algorithms, strict=True)
    ]
    columns = [row.column for row in rows]
    rows.sort(key=lambda row: columns.index(row.column))
    return Suite(name, name, None, _build(rows, name, frozenset(), resolve))


def is_suite(path: str | os.PathLike) -> bool:
    """Whether a YAML file is a suite, and not the configuration of a run."""
    return "columns" in load_mapping(Path(path))


def slug(text: str) -> str:
    """``text`` as a part of a file's name."""
    return re.sub(r"[^a-z0-9._=]+", "-", text.lower()).strip("-")


def _looked_at_first(made: Callable[[Resolve], Made]) -> Made:
    """What is made of configurations; what is wrong without semilearn is said before its import."""
    if not more_are_known():
        made(functools.partial(resolve_by_itself, more=wrong_names))
    metasemi_plugin.register()
    from metasemi_plugin.host.config import resolve

    return made(resolve)


def _read_rows(columns: dict, folder: Path, problems: list[str]) -> Iterator[_Row]:
    for column, cells in columns.items():
        if not isinstance(cells, dict) or not cells:
            problems.append(f"column {column!r}: expected a mapping of rows, got {cells!r}")
            continue
        for name, cell in cells.items():
            at = f"column {column!r}, row {name!r}"
            options = {"config": cell} if isinstance(cell, str) else cell
            if not isinstance(options, dict) or not isinstance(options.get("config"), str):
                problems.append(f"{at}: expected a configuration's path or {{config: path, ...}}")
                continue
            options = dict[str, Any](options)
            config, vary = options.pop("config"), options.pop("vary", {})
            if not isinstance(vary, dict) or not all(
                isinstance(values, list) and values for values in vary.values()
            ):
                problems.append(f"{at}: vary: expected a mapping of options to lists of values")
                continue
            own = options.pop("seeds", None)
            if own is not None:
                problems += [f"{at}: {problem}" for problem in _bad_seeds(own)]
            config = Path(os.path.normpath(folder / config))
            yield _Row(str(column), str(name), config, options, vary, own or ())


def _build(
    rows: list[_Row],
    suite: str,
    may_differ: frozenset[str],
    resolve: Resolve,
    at: str = "",
) -> list[Run]:
    """The rows' runs, checked against each other."""
    problems = []
    for row in rows:
        taken = [key for key in RESERVED if key in row.options or key in row.vary]
        if taken:
            where = f"column {row.column!r}, row {row.name!r}"
            what = ", ".join(taken)
            problems.append(f"{at}{where}: {what}: a suite's to set; for seeds there is seeds")
    _complain(problems)

    runs: list[Run] = []
    first: dict[str, Run] = {}
    for row in rows:
        for values in itertools.product(*row.vary.values()):
            varied = dict(zip(row.vary, values, strict=True))
            parts = (row.column, row.name, *(f"{k}={v}" for k, v in varied.items()))
            name = "_".join(slug(part) for part in parts)
            # A suite's folder is its own, unless its options name one.
            options = {"save_dir": f"saved_models/{suite}", **row.options, **varied}
            try:
                args = resolve(str(row.config), options | {"save_name": name})
            except UserError as error:
                where = f"{at}column {row.column!r}, row {row.name!r}: "
                problems += [where + line for line in str(error).splitlines()]
                continue
            # The seeds differ in the seed alone: reading the files once is enough.
            of_row = []
            for seed in row.seeds:
                own = {"seed": seed, "save_name": f"{name}_seed{seed}"}
                one = argparse.Namespace(**copy.deepcopy(vars(args)) | own)
                of_row.append(
                    Run(row.column, row.name, seed, varied, row.config, options | own, one)
                )
            runs += of_row
            reference = first.setdefault(row.column, of_row[0])
            problem = _difference(reference, of_row[0], may_differ)
            if problem:
                problems.append(at + problem)
    # Each problem once: what varies or what seeds repeat, repeats them too.
    problems = list(dict.fromkeys(problems))
    for folder, count in Counter(str(run.folder) for run in runs).items():
        if count > 1:
            problems.append(f"{at}{count} runs would share the folder {folder}: rename their rows")
    _complain(problems)
    return runs


def _bad_seeds(seeds: object) -> list[str]:
    if isinstance(seeds, Sequence) and seeds:
        whole = all(type(seed) is int and seed >= 0 for seed in seeds)
        if whole and len(set(seeds)) == len(seeds):
            return []
    return [f"seeds: expected different whole numbers, got {seeds!r}"]


def _difference(a: Run, b: Run, may_differ: frozenset[str]) -> str | None:
    """What two rows of one column differ in beyond the method, in words."""
    mine, theirs = vars(a.args), vars(b.args)
    allowed = RUNS_OWN | may_differ | a.varied.keys() | b.varied.keys() | _own(a) | _own(b)
    keys = sorted(k for k in mine.keys() & theirs.keys() - allowed if mine[k] != theirs[k])
    if not keys:
        return None
    what = ", ".join(f"{key} ({mine[key]} and {theirs[key]})" for key in keys)
    return (
        f"column {a.column!r}: {a.row!r} ({a.config}) and {b.row!r} ({b.config}) differ in more "
        f"than the method: {what}; make them equal, or name the options in may_differ"
    )


def _own(run: Run) -> set[str]:
    return {option.name for option in ALGORITHMS[run.args.algorithm].options}


def _complain(problems: list[str], at: str = "") -> None:
    if problems:
        raise UserError("\n".join(at + problem for problem in problems))

import numpy as np
import pandas as pd
import pytest

from metasemi_plugin.experiments.records import Record
from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.report.write import write
from metasemi_plugin.run_folder.results import results

CONFIG = {"algorithm": "metasemi", "dataset": "cifar10", "num_labels": 250, "net": "wrn_28_2"}


@pytest.fixture
def entry(tmp_path):
    return lambda *args, **kwargs: make_entry(tmp_path, *args, **kwargs)


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A folder with a report that has every kind of picture, and the entries it was made of."""
    folder = tmp_path_factory.mktemp("report")
    meta = {
        "kept": [0.9, 0.5],
        "pseudo_label_acc_kept": [0.5, 0.9],
        "pseudo_label_acc_dropped": [0.4, 0.6],
        "assumption1_ratio": [1.0, 2.0],
    }
    entries = [
        *(make_entry(folder, "Meta-Semi", s, [30, 9 + s], **meta) for s in (0, 1)),
        make_entry(folder, "<i>ICT</i> & $x$", 0, [40, 11], step=7),
        make_entry(folder, "<i>ICT</i> & $x$", 1, [45], status="cut off", error="<b>killed</b>"),
        *(
            make_entry(folder, "beta", 0, [40, 10 - b], varied={"mixup_beta": b})
            for b in (0.5, 1.0)
        ),
    ]
    write(entries, folder / "out", TITLE, ["python -m <this>"])
    return folder / "out", entries


TITLE = "A <title> & more"


def make_entry(
    folder,
    row="Meta-Semi",
    seed=0,
    test=(30.0, 20.0),
    validation=None,
    *,
    chosen_on=None,
    column="CIFAR-10 250",
    varied=None,
    status="complete",
    every=100,
    step=10.0,
    config=None,
    error=None,
    **scalars,
):
    """A run whose record holds these errors, one each ``every`` iterations and ``step`` seconds."""
    count = len(test)
    metrics = pd.DataFrame(
        {
            "it": every * np.arange(1, count + 1),
            "seconds": step * np.arange(1, count + 1),
            "eval": test if validation is None else validation,
            **({} if validation is None else {"test": test}),
            **{f"train/{name}": values for name, values in scalars.items()},
        }
    )
    history = metrics[["it", "eval", *(["test"] if "test" in metrics else [])]].to_dict("records")
    settings = {**CONFIG, **(config or {}), **(varied or {})}
    run = {
        **settings,
        "schema": 1,
        "status": status,
        "error": error,
        "seed": seed,
        "config": settings,
        "git": {"commit": "c0ffee" * 6 + "cafe", "dirty": seed == 1},
        "versions": {"python": "3.11.2", "torch": "2.9.1"},
        "hardware": {"device": "cpu", "name": "A CPU", "cores": 2, "threads": 1, "memory_gb": 24.0},
        "iterations": every * count,
        "num_train_iter": 200,
        "seconds": step * count,
        "seconds_per_iteration": step / every,
        "peak_memory_mb": 900.0 + seed,
        **results(history, chosen_on or ("test" if validation is None else "validation")),
    }
    if status == "missing":
        run, metrics = {}, pd.DataFrame(columns=["it", "seconds", "eval"])
    record = Record(folder / f"{row}_{seed}", run, metrics, status)
    return Entry(column, row, varied or {}, seed, record, settings)

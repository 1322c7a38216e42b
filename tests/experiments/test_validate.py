"""The suites that come with the package, and the arithmetic of what they take."""

import functools
import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from metasemi_plugin.cli import validate as validate_command
from metasemi_plugin.config.yaml_files import load_mapping
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments import validate
from metasemi_plugin.experiments.published import _numbers, paper
from metasemi_plugin.experiments.suite import load_suite
from metasemi_plugin.experiments.validate import Measured, Step, Work, estimate, scaled
from metasemi_plugin.host.config import resolve

SUITES = Path(__file__).parents[2] / "config" / "suites"
# A plain step is 0.01 h on 100 images of CNN-13, one of ICT 2 of them.
MEASURED = Measured(
    {"cnn13": Step(0.01, 100, {}, 32)},
    {"supervised": 1.0, "ict": 2.0, "metasemi": 3.0, "mixmatch": 4.0},
    "a machine",
)

suite = functools.cache(lambda name: load_suite(SUITES / f"{name}.yaml"))


def run(algorithm, **options):
    cnn13 = {"net": "cnn13", "num_train_iter": 10, "batch_size": 25, "uratio": 3}
    return resolve(None, {"algorithm": algorithm, "img_size": 32, **cnn13, **options})


def test_hours_are_in_proportion_to_each_factor():
    done = Work(iterations=1000, images=100, flops=5e6, cost=2)
    assert scaled(3.0, done, done) == 3.0
    assert scaled(3.0, done, Work(2000, 50, 1.5e7, 1)) == 3.0 * 2 / 2 * 3 / 2


@pytest.mark.parametrize(
    ("algorithm", "options", "hours"),
    [
        ("ict", {}, 0.2),
        ("ict", {"num_train_iter": 5}, 0.1),
        ("ict", {"batch_size": 50}, 0.4),
        ("metasemi", {}, 0.3),
        ("learning_to_reweight", {}, 0.3),  # takes what Meta-Semi takes
        ("mixmatch_original", {}, 0.4),
        ("supervised", {}, 0.1 / 4),  # 25 images of 100
        # One more pass of the 75 unlabeled images: 0.75 of a plain step.
        ("metasemi", {"consistency": "ict"}, 0.375),
        # 500 more passes every 600 iterations.
        ("metasemi", {"assumption1": 600, "assumption1_batches": 500}, 0.3 * 11 / 6),
        # Half the width in a net that was not measured: by its operations.
        ("ict", {"net": "cnn13_slim", "net_args": {"width": 128}}, 0.2),
        ("ict", {"net": "wrn_28_2"}, None),
        ("vat", {}, None),
    ],
)
def test_hours_are_scaled_from_a_measured_step(algorithm, options, hours):
    found = estimate(run(algorithm, **options), MEASURED).hours
    assert found == (None if hours is None else pytest.approx(hours))


def test_without_measurements_nothing_is_made_up(tmp_path):
    measured = validate.read_measured(tmp_path)
    assert measured == ({}, {}, "")
    hours, gigabytes = estimate(run("metasemi"), measured)
    assert hours is None
    assert gigabytes > 0


def test_measurements_are_those_in_single_precision_on_a_cpu(tmp_path):
    setting = {"net": "cnn13", "width": 64, "img_size": 32, "batch_size": 25, "ulb_batch_size": 75,
               "threads": 2, "device": "cpu", "dtype": "fp32"}  # fmt: skip
    record = {
        "setting": setting,
        "rows": [{"method": "forward", "median_ms": 9.0}, {"method": "plain", "median_ms": 3600.0}],
        "train_steps": [
            {"algorithm": "supervised", "median_ms": 1800.0, "ratio_to_supervised": 1.0},
            {"algorithm": "metasemi", "median_ms": 9e9, "ratio_to_supervised": 3.0},
        ],
        "machine": {"CPU": "a CPU"},
    }
    for row in record["train_steps"]:
        row["error"] = None
    failed = {"algorithm": "ict", "median_ms": None, "ratio_to_supervised": None, "error": "x"}
    record["train_steps"].append(failed)
    (tmp_path / "a.json").write_text(json.dumps(record))
    other = record | {"setting": setting | {"dtype": "bf16", "net": "wrn_28_2"}}
    (tmp_path / "b.json").write_text(json.dumps(other))
    step = Step(hours=0.001, images=100, net_args={"width": 64}, img_size=32)
    costs = {"supervised": 0.5, "metasemi": 1.5}
    assert validate.read_measured(tmp_path) == ({"cnn13": step}, costs, "2 threads of a CPU")


def test_operations_of_a_net_by_hand():
    # 3x3 convolutions 3 -> 6 onto 8x8 and 6 -> 8 onto 4x4, then 8 -> 10; two an element.
    by_hand = 2 * (8 * 8 * 6 * 27 + 4 * 4 * 8 * 54 + 8 * 10)
    assert validate.flops("tiny:net", {}, 16) == by_hand


@pytest.mark.parametrize(
    "options", [{"optim": "SGD"}, {"optim": "SGD", "momentum": 0}, {"optim": "AdamW"}]
)
def test_disk_is_the_size_of_real_checkpoints(build, tmp_path, options):
    options = {"net": "cnn13_slim", "net_args": {"width": 24}, **options}
    built = build("metasemi", **options)
    built.call_hook("before_run", "EMAHook")
    built.epoch = 0
    for p in built.model.parameters():
        p.grad = torch.ones_like(p)
    built.optimizer.step()
    built.save_model("latest_model.pth", str(tmp_path))
    real = (tmp_path / "latest_model.pth").stat().st_size
    assert validate.checkpoint_bytes(built.args) == pytest.approx(real, rel=0.1)
    assert estimate(built.args, MEASURED).gigabytes == pytest.approx(3 * real / 1e9, rel=0.1)


RUNS = {
    "table1": 270, "table2": 110, "table3": 10, "table4": 75, "table5": 50, "table6": 90,
    "figure2": 20, "figure3": 75,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.yaml")))
def test_every_suite_is_valid_and_complete(name):
    runs = suite(name).runs
    lines = list(validate.describe(suite(name), MEASURED))
    assert lines[1].startswith(f"{len(runs)} runs")
    # Each row has its line, besides the head of the column, its sum, and what is around them.
    rows = {(r.column, r.row, str(r.varied)) for r in runs}
    assert sum(line.startswith("  ") and "  all of them" not in line for line in lines) == len(rows)
    assert max(map(len, lines)) <= 100
    if name in RUNS:
        assert len(runs) == RUNS[name]
        assert {r.seed for r in runs} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "table5", "table6"])
def test_tables_have_the_paper_s_cells_and_names(name):
    """Each run has its number in the paper, and the paper no number without a run."""
    ours = {
        (r.args.dataset, r.args.net, r.args.num_labels, r.row): paper(
            name, r.args.dataset, r.args.net, r.args.num_labels, r.row
        )
        for r in suite(name).runs
    }
    assert suite(name).paper == name
    assert None not in ours.values()
    theirs = {cell[1:] for cell in _numbers() if cell[0] == name}
    # SWWAE and CC-GAN are no methods of this package; shorter times are read off a longer run.
    missing = {"table3": {"SWWAE", "CC-GAN"},
               "table5": {f"{m}, {h} h" for m in ("MixMatch", "Meta-Semi")
                          for h in (13.7, 18.3, 22.8)}}  # fmt: skip
    assert {cell[-1] for cell in theirs - ours.keys()} == missing.get(name, set())


def test_table_1_has_5_columns_with_each_row_s_methods():
    by_column = {}
    for r in suite("table1").runs:
        by_column.setdefault(r.column, Counter())[r.args.algorithm] += 1
    # Five seeds; Meta-Semi with and without ICT.
    everything = Counter(dict.fromkeys(
        ("supervised", "supervised_mixup", "pimodel", "temporal_ensembling", "meanteacher", "vat",
         "sntg", "learning_to_reweight", "fast_swa", "ict"), 5)) + Counter(metasemi=10)  # fmt: skip

    def without(*names):
        return Counter({k: v for k, v in everything.items() if k not in names})

    assert by_column == {
        "CIFAR-10 1000": everything,
        "CIFAR-10 2000": without("learning_to_reweight"),
        "CIFAR-10 4000": everything,
        "CIFAR-100 4000": without("temporal_ensembling", "vat", "sntg", "fast_swa"),
        "CIFAR-100 10000": without("vat"),
    }


def test_rows_differ_in_the_method_and_in_what_the_paper_says():
    excused = {path.stem: load_mapping(path).get("may_differ", []) for path in SUITES.glob("*")}
    # Nets, rates and evaluation are those of the methods' authors: docs/method/fidelity.md.
    assert {name: excused[name] for name in RUNS if excused[name]} == {
        "table1": ["net_args", "ema_m", "lr", "weight_decay"],
        "table2": ["bn_statistics"],
        "table3": ["bn_statistics"],
        "table4": ["net_args"],
        "table5": ["num_train_iter", "bn_statistics"],
        "table6": ["ema_m"],
    }


def test_the_iterations_of_table_5_are_in_proportion_to_its_times():
    whole = {"ICT": 360_000 / 12.6, "Meta-Semi": 360_000 / 12.6 / 1.81}
    for r in suite("table5").runs:
        method, hours = r.row.removesuffix(" h").split(", ")
        if r.column == "CNN-13":
            assert r.args.num_train_iter == round(whole[method] * float(hours))


def test_the_command_prints_every_suite_or_one_error(capsys, tmp_path):
    assert validate_command.main([str(SUITES / "table3.yaml"), str(SUITES / "table2.yaml")]) == 0
    out = capsys.readouterr().out
    assert "Table 3: STL-10" in out
    assert out.index("10 runs, seeds 0 1 2 3 4") < out.index("110 runs")
    broken = tmp_path / "broken.yaml"
    broken.write_text(f"columns: {{a: {{x: {SUITES}/../nothing.yaml}}}}\n")
    with pytest.raises(UserError, match=r"row 'x'.*cannot read"):
        validate_command.main([str(SUITES / "table3.yaml"), str(broken)])
    assert capsys.readouterr().out == ""

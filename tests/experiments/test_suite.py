from pathlib import Path

import pytest

from metasemi_plugin.cli.words import parse
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.suite import is_suite, load_suite, slug, suite_of_configs
from metasemi_plugin.host.config import resolve

ROOT = Path(__file__).parent.parent.parent
DIGITS = ROOT / "config/metasemi/digits_40.yaml"
ICT = ROOT / "config/ict/digits_40.yaml"


@pytest.fixture
def suite(tmp_path):
    """load(text, **how): the suite of that text; {metasemi} and {ict} stand for configurations."""

    def load(text, **how):
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace("{metasemi}", str(DIGITS)).replace("{ict}", str(ICT)))
        return load_suite(path, **how)

    return load


def test_rows_values_and_seeds_in_the_order_of_the_file(suite):
    read = suite(
        """
        title: Mine
        paper: table2
        seeds: [4, 2]
        set: {num_train_iter: 7, lr: 0.3}
        columns:
          Two of them:
            Meta-Semi: {config: {metasemi}, vary: {mixup_beta: [0.5, 1]}, lr: 0.3}
            One hot: {config: {metasemi}, pseudo_label: onehot}
          Another:
            ICT (ours): {ict}
            Fewer: {config: {ict}, seeds: [2]}
        """
    )
    assert (read.name, read.title, read.paper) == ("mine", "Mine", "table2")
    assert [(r.column, r.row, r.varied, r.seed) for r in read.runs] == [
        ("Two of them", "Meta-Semi", {"mixup_beta": 0.5}, 4),
        ("Two of them", "Meta-Semi", {"mixup_beta": 0.5}, 2),
        ("Two of them", "Meta-Semi", {"mixup_beta": 1}, 4),
        ("Two of them", "Meta-Semi", {"mixup_beta": 1}, 2),
        ("Two of them", "One hot", {}, 4),
        ("Two of them", "One hot", {}, 2),
        ("Another", "ICT (ours)", {}, 4),
        ("Another", "ICT (ours)", {}, 2),
        ("Another", "Fewer", {}, 2),
    ]
    assert [str(run.folder) for run in read.runs[::2]] == [
        "saved_models/mine/two-of-them_meta-semi_mixup_beta=0.5_seed4",
        "saved_models/mine/two-of-them_meta-semi_mixup_beta=1_seed4",
        "saved_models/mine/two-of-them_one-hot_seed4",
        "saved_models/mine/another_ict-ours_seed4",
        "saved_models/mine/another_fewer_seed2",
    ]
    varied, one_hot = read.runs[3].args, read.runs[4].args
    assert (varied.mixup_beta, varied.pseudo_label, varied.seed) == (1.0, "soft", 2)
    assert (one_hot.mixup_beta, one_hot.pseudo_label, one_hot.num_train_iter) == (0.5, "onehot", 7)
    assert {run.args.lr for run in read.runs} == {0.3}


def test_a_run_is_what_its_file_and_options_resolve_to(suite):
    """Also through the words of a command line."""
    read = suite(
        """
        set: {net_args: {width: 4}, amp: true}
        columns:
          all: {A: {config: {metasemi}, vary: {mixup_beta: [0.2]}}}
        """,
        seeds=[5],
    )
    (run,) = read.runs
    assert resolve(str(run.config), run.options) == run.args
    words = parse(run.words)
    assert resolve(words.pop("c"), words) == run.args
    assert (run.args.net_args, run.args.amp, run.args.mixup_beta) == ({"width": 4}, True, 0.2)


def test_command_line_over_file(suite):
    text = "set: {lr: 0.3, save_dir: there}\ncolumns: {a: {b: {config: {metasemi}, seeds: [1]}}}\n"
    (run,) = suite(text).runs
    assert (run.args.lr, run.seed, str(run.folder)) == (0.3, 1, "there/a_b_seed1")
    runs = suite(text, seeds=(7, 8), overrides={"lr": "0.4", "save_dir": "here"}).runs
    assert [(r.args.lr, r.seed, str(r.folder)) for r in runs] == [
        (0.4, 7, "here/a_b_seed7"),
        (0.4, 8, "here/a_b_seed8"),
    ]


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "suites").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/one.yaml").write_text("dataset: digits\n")
    (tmp_path / "suites/s.yaml").write_text("columns: {a: {b: ../runs/one.yaml}}\n")
    monkeypatch.chdir(tmp_path)
    run = load_suite("suites/s.yaml").runs[0]
    assert run.words[:2] == ["--c", "runs/one.yaml"]


MIXED = """
columns:
  same: {A: {metasemi}, B: {ict}}
  mixed: {A: {metasemi}, C: {config: {ict}, lr: 0.3, num_labels: 80}}
"""


def test_a_column_differs_in_the_method_alone(suite):
    with pytest.raises(UserError) as error:
        suite(MIXED)
    (line,) = str(error.value).splitlines()
    assert f"column 'mixed': 'A' ({DIGITS}) and 'C' ({ICT}) differ in more than the method" in line
    assert "lr (0.05 and 0.3), num_labels (40 and 80); make them equal, or" in line
    assert len(suite(MIXED + "may_differ: [lr, num_labels]\n", seeds=[0]).runs) == 4
    with pytest.raises(UserError, match=r"method: lr \(0.05 and 0.3\);"):
        suite(MIXED + "may_differ: [num_labels]\n")


def test_what_a_row_varies_may_differ(suite):
    runs = suite("columns: {a: {A: {metasemi}, B: {config: {metasemi}, vary: {lr: [1, 2]}}}}").runs
    assert [run.args.lr for run in runs[::3]] == [0.05, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\n", "mine.yaml: columns: a suite needs at least one column"),
        ("columns: {a: {b: {metasemi}}}\nseed: [1]\n", "unknown key 'seed'; did you mean 'seeds'"),
        ("columns: {a: {b: {metasemi}}}\nseeds: 3\n", "seeds: expected a list of whole numbers"),
        ("columns: {a: {b: {metasemi}}}\nseeds: [1, 1]\n", "expected different whole numbers"),
        ("columns: {a: {b: {metasemi}}}\nseeds: [x]\n", "expected different whole numbers"),
        ("columns: {a: {b: {config: {metasemi}, seeds: 3}}}\n", "row 'b': seeds: expected diff"),
        ("columns: {a: {b: {config: {metasemi}, seeds: []}}}\n", "row 'b': seeds: expected diff"),
        ("columns: {a: x}\n", "column 'a': expected a mapping of rows"),
        ("columns: {a: {b: {lr: 1}}}\n", "column 'a', row 'b': expected a configuration's path"),
        (
            "columns: {a: {b: {config: {metasemi}, vary: {lr: 1}}}}\n",
            "row 'b': vary: expected a mapping of options to lists",
        ),
        ("columns: {a: {b: {config: {metasemi}, seed: 1}}}\n", "seed: a suite's to set; for seeds"),
        ("columns: {a: {b: {config: {metasemi}, lrr: 1}}}\n", "row 'b': .*unknown key 'lrr'"),
        ("columns: {a: {b: nowhere.yaml}}\n", "row 'b': cannot read .*nowhere.yaml"),
        (
            "columns: {a: {b: {metasemi}, B: {metasemi}}}\nseeds: [0]\n",
            "2 runs would share the folder saved_models/mine/a_b_seed0",
        ),
    ],
)
def test_a_bad_suite_is_named(suite, text, message):
    with pytest.raises(UserError, match=message):
        suite(text)


def test_all_problems_come_together(suite):
    with pytest.raises(UserError) as error:
        suite("columns: {a: {b: {config: {metasemi}, lrr: 1, epochs: 1}, c: nowhere.yaml}}\n")
    assert str(error.value).count("\n") == 2


def test_what_is_varied_cannot_be_fixed_too(suite):
    text = "columns: {a: {b: {config: {metasemi}, vary: {lr: [1]}}}}\n"
    with pytest.raises(UserError, match="column 'a', row 'b' varies lr"):
        suite(text, overrides={"lr": "3"})


def test_a_suite_of_configurations(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(f"base: {DIGITS}\nmixup_beta: 0.1\n")
    eighty = tmp_path / "eighty.yaml"
    eighty.write_text(f"base: {DIGITS}\nnum_labels: 80\n")
    read = suite_of_configs([DIGITS, eighty, ICT, other], "mine", overrides={"lr": "0.2"})
    assert [(r.column, r.row) for r in read.runs[::3]] == [
        ("digits 40", "digits_40"),
        ("digits 40", "ict"),
        ("digits 40", "other"),
        ("digits 80", "metasemi"),
    ]
    assert [run.seed for run in read.runs[:3]] == [0, 1, 2]
    assert {run.args.lr for run in read.runs} == {0.2}
    with pytest.raises(UserError, match="differ in more than the method: batch_size"):
        suite_of_configs([DIGITS, _with(tmp_path, "batch_size: 3")], "mine")
    with pytest.raises(UserError, match=r"cannot read .*nowhere"):
        suite_of_configs(["nowhere"], "mine")


def _with(tmp_path, line):
    path = tmp_path / "with.yaml"
    path.write_text(f"base: {ICT}\n{line}\n")
    return path


def test_suites_and_configurations_are_told_apart():
    assert not is_suite(DIGITS)
    assert is_suite(ROOT / "config/suites/digits.yaml")


def test_slug():
    assert slug("MT + Fast SWA (β = 0.5)") == "mt-fast-swa-=-0.5"
    assert slug("mixup_beta=0.5") == "mixup_beta=0.5"


def test_the_digits_are_compared_by_every_method():
    read = load_suite(ROOT / "config/suites/digits.yaml")
    rows = list(dict.fromkeys(run.row for run in read.runs))
    assert len(read.runs) == 3 * len(rows) == 42
    compared = {str(run.config.relative_to(ROOT / "config")) for run in read.runs}
    there = {str(p.relative_to(ROOT / "config")) for p in ROOT.glob("config/*/digits_40*.yaml")}
    assert compared == there - {"base/digits_40.yaml"}

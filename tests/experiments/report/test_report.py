"""The whole report, from records to files."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from shutil import rmtree

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from metasemi_plugin.cli import main
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.report import committed, numbers
from metasemi_plugin.experiments.report import write as writing
from metasemi_plugin.experiments.report.course import by_iteration
from metasemi_plugin.experiments.report.drawing import columns_of
from metasemi_plugin.experiments.report.entries import of_folders, of_suite
from metasemi_plugin.experiments.report.write import write
from metasemi_plugin.experiments.suite import load_suite

PICTURES = [
    "error-by-iteration-cifar-10-250",
    "error-by-time-cifar-10-250",
    "error-at-fixed-time-cifar-10-250",
    "cost-cifar-10-250",
    "error-by-mixup_beta",
    "kept-cifar-10-250",
    "assumption-1-cifar-10-250",
]


def save(entry, folder):
    """The entry's record as files."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(entry.record.run))
    lines = entry.record.metrics.to_dict("records")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Page(HTMLParser):
    """Tags that are open, the pictures, and the rest as text."""

    def __init__(self, text):
        super().__init__()
        self.images, self.text, self.tags = [], "", set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.text += data


def test_every_picture_is_there_twice_and_in_the_page(report):
    folder, _ = report
    names = {path.name for path in (folder / "pictures").iterdir()}
    assert names == {f"{name}{end}" for name in PICTURES for end in (".png", ".svg")}
    page = Page((folder / "report.html").read_text())
    assert len(page.images) == len(PICTURES)
    assert all(image["alt"].endswith(".") for image in page.images)
    for name in PICTURES:
        with Image.open(folder / "pictures" / f"{name}.png") as image:
            assert image.width == int(7.2 * 144)


def test_pictures_are_made_only_of_data_that_exist(entry, tmp_path):
    write([entry("A", 0, [9.0])], tmp_path / "out", "T", [])
    names = {path.stem for path in (tmp_path / "out/pictures").iterdir()}
    assert names == {"error-by-iteration-cifar-10-250", "error-by-time-cifar-10-250"}
    write([entry("A", 0, status="missing")], tmp_path / "out", "T", [])
    assert list((tmp_path / "out/pictures").iterdir()) == []


@pytest.mark.parametrize(("rows", "panels"), [(6, 1), (7, 7)])
def test_a_crowd_is_drawn_a_panel_each(entry, rows, panels):
    entries = [entry(f"row {n}", 0, [9.0, 5.0 + n]) for n in range(rows)]
    (picture,) = by_iteration("few", columns_of(entries)["CIFAR-10 250"])
    assert len(set(re.findall(rb'id="(axes_\d+)"', picture.svg))) == panels


def test_names_are_escaped(report):
    folder, _ = report
    page = Page((folder / "report.html").read_text())
    assert not {"i", "this"} & page.tags
    assert "<i>ICT</i> & $x$" in page.text
    assert "A <title> & more" in page.text
    assert "python -m <this>" in page.text
    assert "cut off (<b>killed</b>), 100 of 200 iterations" in page.text
    assert "$x$" in (folder / "pictures/cost-cifar-10-250.svg").read_text()  # no mathematics


def test_the_page_needs_nothing_from_elsewhere(report):
    text = (report[0] / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert not re.search(r"@import|url\(|https?://", text)


def test_the_same_records_give_the_same_bytes(report, tmp_path):
    folder, entries = report
    write([entries[-1]._replace(column="gone")], tmp_path, "T", [])
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    write(entries, tmp_path, "A <title> & more", ["python -m <this>"])
    assert files(tmp_path) == files(folder)


@pytest.fixture
def reported(tmp_path, tiny_run, entry):
    """(words, suite, runs, out): a report of runs in several states, with odd names."""
    options = {k: v for k, v in tiny_run("supervised").items() if k not in ("save_dir", "seed")}
    YAML().dump(options, tmp_path / "supervised.yaml")
    rows = {"NA": "supervised.yaml", "b": {"config": "supervised.yaml", "vary": {"lr": [0.1, 0.2]}}}
    YAML().dump({"columns": {"0250": rows}}, tmp_path / "suite.yaml")
    runs, out = tmp_path / "runs", tmp_path / "out"
    words = [str(tmp_path / "suite.yaml"), "--seeds", "0", "1", "--save_dir", str(runs)]
    suite = load_suite(words[0], (0, 1), {"save_dir": str(runs)})
    measured = {"kept": [0.1 + 0.2, 0.5, 0.7], "assumption1_ratio": [None, 1 / 3, None]}
    hundredths = {"test": [70.1, 100 / 7, 9.0], "validation": [50.0, 1e-5, 1e-5]}
    kinds = (
        {**hundredths, **measured, "lr": [1.0, 2.0, 3.0]},
        {**hundredths, **measured},
        {"test": [30.0], "status": "cut off", "error": 'killed, "so"\nto say'},
        {"test": [], "status": "failed", "error": "no"},
        {"test": [5.0], "config": {"lr": 0.5, "num_train_iter": 7}},
    )
    for run, kind in zip(suite.runs, kinds, strict=False):
        config = vars(run.args) | kind.pop("config", {})
        save(entry("", run.seed, config=config, **kind), run.folder)
    assert main(["report", *words, "--out", str(out)]) == 0
    return words, suite, runs, out


def test_a_report_is_made_again_without_the_run_folders(reported, capsys):
    words, _, runs, out = reported
    before = files(out)
    assert "| NA | 2 | 9.00 ± 0.00 |" in before[Path("table.md")].decode()
    assert "made with other settings: lr (0.5, now 0.2)" in before[Path("table.md")].decode()
    assert {path.name for path in before} >= {
        f"{name}-0250.svg" for name in ("error-by-iteration", "kept", "assumption-1")
    }
    rmtree(runs)
    rmtree(out / "pictures")
    (out / "report.html").unlink()
    assert main(["report", *words, "--out", str(out)]) == 0
    assert files(out) == before
    said = capsys.readouterr().out
    assert "2 of them are from courses.csv: their run folders are not here" in said


@pytest.mark.usefixtures("no_pictures")
def test_a_run_folder_wins_over_what_was_reported_of_it(reported, entry):
    _, suite, runs, out = reported
    kept = committed.read(out)
    rmtree(runs)
    save(entry("", 1, [1.5], config=vars(suite.runs[1].args)), suite.runs[1].folder)
    entries = of_suite(suite, kept)
    assert numbers.runs(entries)["error_last"].tolist()[:2] == [9.0, 1.5]


@pytest.mark.usefixtures("no_pictures")
def test_the_last_that_is_known_of_a_run_is_not_lost(reported, tmp_path, monkeypatch, capsys):
    words, suite, runs, out = reported
    fewer = ["report", *words[:2], "0", *words[4:]]
    assert main([*fewer, "--out", str(out)]) == 0
    assert main(["report", *words, "--out", str(out)]) == 0
    before = files(out)
    rmtree(suite.runs[1].folder)
    assert main([*fewer, "--out", str(out)]) == 2
    assert f"courses.csv hold {suite.runs[1].folder}, whose run folder" in capsys.readouterr().err
    assert files(out) == before
    # Where it is usually reported to, it is found from elsewhere.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmark_results").mkdir()
    out.rename(tmp_path / "benchmark_results/suite")
    rmtree(runs)
    assert main([*fewer, "--out", "new"]) == 0
    assert "1 of 3 runs are complete\n1 of them are from courses.csv" in capsys.readouterr().out


@pytest.mark.usefixtures("no_pictures")
def test_what_was_reported_holds_elsewhere_but_not_with_other_settings(reported):
    words, _, runs, out = reported
    rmtree(runs)
    kept = committed.read(out)
    for options, first in (
        ({"data_dir": "elsewhere", "device": "cpu"}, "complete"),
        ({"clip_grad": 7}, "made with other settings: clip_grad (0, now 7.0)"),
    ):
        entries = of_suite(load_suite(words[0], (0, 1), options), kept)
        assert entries[0].record.status == first


@pytest.mark.usefixtures("no_pictures")
def test_damaged_tables_are_named_and_stay(reported, capsys):
    words, _, _, out = reported
    whole = (out / "results.csv").read_text()
    for damage in (
        "column,row\n1,2\n",
        'column,row\n"1',
        whole[: whole.rindex(",")] + "\n",
        whole[:-40],
    ):
        (out / "results.csv").write_text(damage)
        assert main(["report", *words, "--out", str(out)]) == 2
        assert f"{out}: results.csv and courses.csv are not as" in capsys.readouterr().err
        assert (out / "results.csv").read_text() == damage


def test_courses_have_what_the_pictures_show_and_no_more(entry):
    entries = [
        entry("A", 0, [9.0, 8.0], kept=[0.5, 0.25], lr=[1.0, 1.0]),
        entry("B", 0, [7.0]),
        entry("C", 0, status="missing"),
    ]
    made = committed.courses(entries)
    assert made.columns.tolist() == ["folder", "it", "seconds", "eval", "train/kept"]
    assert made["train/kept"].tolist()[:2] == [0.5, 0.25]
    assert made["it"].tolist() == [100, 200, 100]
    assert committed.courses(entries[2:]).columns.tolist() == ["folder", "it", "seconds", "eval"]


def test_what_no_report_has_written_stays(entry, tmp_path):
    mine = tmp_path / "pictures/mine.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    write([entry("A", 0, [9.0])], tmp_path, "T", [])
    write([entry("B", 0, [9.0])], tmp_path, "T", [])
    assert mine.read_text() == "mine"


@pytest.mark.usefixtures("no_pictures")
def test_a_table_of_something_else_is_not_replaced(entry, tmp_path, capsys):
    save(entry("", 0), tmp_path / "run")
    (tmp_path / "results.csv").write_text("mine")
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path)]) == 2
    assert f"{tmp_path}/results.csv would be replaced, but there is no table.md" in (
        capsys.readouterr().err
    )
    assert (tmp_path / "results.csv").read_text() == "mine"


def test_results_are_a_line_a_run(report):
    folder, entries = report
    runs = pd.read_csv(folder / "results.csv")
    assert len(runs) == len(entries)
    assert runs["status"].tolist() == ["complete"] * 3 + ["cut off"] + ["complete"] * 2
    assert runs["error_last"].tolist() == [9, 10, 11, 45, 9.5, 9]
    assert runs["why"].dropna().tolist() == ["<b>killed</b>"]
    assert runs["varied"].tolist()[4:] == ["mixup_beta=0.5", "mixup_beta=1.0"]


@pytest.fixture
def no_pictures(monkeypatch):
    """They take seconds."""
    monkeypatch.setattr(writing, "pictures", lambda *_: [])


@pytest.mark.usefixtures("no_pictures")
def test_run_folders(entry, tmp_path, capsys):
    runs = tmp_path / "runs"
    for seed in (0, 1):
        save(entry("", seed, [20.0, 10.0 + seed]), runs / f"meta{seed}")
        save(entry("", seed, config={"algorithm": "ict"}), runs / f"ict{seed}")
    save(entry("", 0, [7.0], config={"ema_m": 0.9}), runs / "other")
    out = tmp_path / "out"
    assert main(["report", str(runs), "--out", str(out)]) == 0
    assert "5 of 5 runs are complete" in capsys.readouterr().out
    table = (out / "table.md").read_text()
    assert table.startswith("# runs\n")
    assert re.findall(r"^\| (.*?) \| (\d) \| (\S+)", table, re.M)[:3] == [
        ("ict", "2", "20.00"),
        ("metasemi, ema_m=0.9", "1", "7.00"),
        ("metasemi, ema_m=None", "2", "10.50"),
    ]
    assert f"python train.py --c {runs}/ict0/config.yaml --overwrite" in table

    save(entry("", 0), runs / "twice")
    with pytest.raises(UserError, match=r"2 runs of metasemi, ema_m=None .* seed 0"):
        of_folders([runs])
    assert len(of_folders([runs / "ict0", runs / "twice"])) == 2
    with pytest.raises(UserError, match="holds no run"):
        of_folders([tmp_path / "out"])


@pytest.fixture
def suite(tmp_path, tiny_run):
    options = {k: v for k, v in tiny_run("supervised").items() if k not in ("save_dir", "seed")}
    YAML().dump(options, tmp_path / "supervised.yaml")
    content = {"title": "Tiny: a suite", "columns": {"tiny": {"Supervised": "supervised.yaml"}}}
    YAML().dump(content, tmp_path / "suite.yaml")
    return tmp_path / "suite.yaml"


@pytest.mark.usefixtures("no_pictures")
def test_a_suite(suite, entry, tmp_path, capsys):
    words = [str(suite), "--seeds", "4", "5", "6", "7", "--save_dir", str(tmp_path / "runs")]
    out = tmp_path / "out"
    assert main(["report", *words, "--out", str(out)]) == 2
    assert "none of its 4 runs was started" in capsys.readouterr().err
    assert not out.exists()

    runs = load_suite(suite, (4, 5, 6), {"save_dir": str(tmp_path / "runs")}).runs
    for run, lr in zip(runs, (0.1, 0.1, 0.2), strict=True):
        config = vars(run.args) | {"lr": lr}
        save(entry("", run.seed, [30.0, 10.0 + run.seed], config=config), run.folder)
    assert main(["report", *words, "--out", str(out), "--budget", "15"]) == 0
    assert "2 of 4 runs are complete" in capsys.readouterr().out
    table = (out / "table.md").read_text()
    assert table.startswith("# Tiny: a suite\n")
    assert "| Supervised | 2 of 4 | 14.50 ± 0.71 |" in table
    assert "- Supervised, seed 6: made with other settings: lr (0.2, now 0.1)" in table
    assert "- Supervised, seed 7: missing" in table
    assert "| after 15 s |" in table
    assert f"    python -m metasemi_plugin compare {' '.join(words)}\n" in table
    assert f"    git checkout {'c0ffee' * 6}cafe\n" in table
    assert main(["report", *words, "--out", str(out), "--against", "supervized"]) == 2
    assert "--against: unknown 'supervized'" in capsys.readouterr().err


def test_without_test_images_no_number_is_a_test_error(entry, tmp_path):
    entries = [
        entry(row, 0, [30.0, 20.0 + n], chosen_on="validation") for n, row in enumerate("AB")
    ]
    write(entries, tmp_path, "T", [])
    page = Page((tmp_path / "report.html").read_text())
    told = (tmp_path / "table.md").read_text() + page.text + "".join(map(str, page.images))
    assert "Validation error against iteration" in told
    assert "Cost of an iteration against last validation error" in told
    assert "Validation error after 20 s" in told
    assert "est error" not in told
    assert "The best evaluation is chosen on validation, which flatters it." in told
    assert "- Errors on validation images, as there are no test images: A, B." in told
    for name in ("error-by-iteration", "error-at-fixed-time", "cost"):
        text = (tmp_path / f"pictures/{name}-cifar-10-250.svg").read_text()
        assert "validation error, %" in text
    assert set(pd.read_csv(tmp_path / "results.csv")["error_on"]) == {"validation"}


def test_records_without_numbers(entry, tmp_path):
    """A run that failed before its first evaluation."""
    failed = entry("A", 0, [], status="failed", error="no")
    failed.record.run.update(seconds_per_iteration=None)
    write([failed], tmp_path, "T", [])
    assert "| A | 0 of 1 |" in (tmp_path / "table.md").read_text()
    assert math.isnan(pd.read_csv(tmp_path / "results.csv")["error_last"][0])


def test_of_suite_keeps_the_order(suite, entry, tmp_path):
    loaded = load_suite(suite, (2, 1), {"save_dir": str(tmp_path / "runs")})
    save(entry("", 1, config=vars(loaded.runs[1].args)), loaded.runs[1].folder)
    entries = of_suite(loaded, {})
    assert [(e.seed, e.record.status) for e in entries] == [(2, "missing"), (1, "complete")]
    assert entries[0].config["lr"] == 0.1

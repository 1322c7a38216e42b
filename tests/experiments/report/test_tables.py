"""What the tables say of finished, unfinished and published runs."""

import pytest

from metasemi_plugin.experiments.report import numbers, reference, tables
from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.report.markdown import markdown


def tables_of(entries, paper=None, budget=None):
    runs = numbers.runs(entries, budget)
    cells = numbers.cells(runs)
    return tables.result_tables(runs, cells, entries, reference.beside(cells, paper), "A")


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_a_column(entry):
    entries = [
        *(entry("A", s, [30, e], validation=[9, 8]) for s, e in enumerate((10, 13))),
        *(entry("B", s, [30, e], validation=[8, 9]) for s, e in enumerate((20, 20.5))),
    ]
    table, differences, _ = tables_of(entries)
    assert table.title == "CIFAR-10 250"
    assert table.head == [
        "method", "runs", "last", "median of last 20", "best on validation", "s an iteration",
        "peak memory, MiB",
    ]  # fmt: skip
    assert texts(table) == [
        ["A", "2", "11.50 ± 2.12", "20.75 ± 1.06", "11.50 ± 2.12", "0.100", "901"],
        ["B", "2", "20.25 ± 0.35", "25.12 ± 0.18", "30.00 ± 0.00", "0.100", "901"],
    ]
    assert differences.title == "CIFAR-10 250, differences to A"
    assert differences.head == ["method", "seeds", "minus A", "95 % interval", "p"]
    assert texts(differences) == [["B", "2", "+8.75", "-7.13 to +24.63", "0.090"]]
    assert not any(cell.bold for line in (*table.rows, *differences.rows) for cell in line)
    assert table.unfinished == table.notes == []


def test_bold_is_what_differs(entry):
    entries = [
        entry(row, seed, [error + gap * seed])
        for row, error, gap in (("A", 10, 2), ("B", 20, 2.1), ("C", 10.5, 2.9))
        for seed in range(3)
    ]
    _, differences, _ = tables_of(entries)
    bold = [[cell.text for cell in row if cell.bold] for row in differences.rows]
    assert bold == [["+10.10"], []]


def test_what_is_not_complete_is_counted_and_named(entry):
    entries = [
        entry("A", 0),
        entry("A", 1, status="failed", error="loss is nan"),
        entry("A", 2, status="missing"),
        entry("B", 0, [50.0], status="cut off"),
    ]
    table, at_time = tables_of(entries)
    assert [row[:3] for row in texts(table)] == [["A", "1 of 3", "20.00"], ["B", "0 of 1", ""]]
    folder = entries[0].record.folder.parent
    assert table.unfinished == [
        f"A, seed 1: failed (loss is nan), 200 of 200 iterations, log: {folder / 'A_1/log.txt'}",
        "A, seed 2: missing",
        f"B, seed 0: cut off, 100 of 200 iterations, log: {folder / 'B_0/log.txt'}",
    ]
    assert at_time.rows[1][2].text == ""


def test_several_columns_have_an_overview(entry):
    entries = [
        entry("A", 0, [10.0], column="few"),
        entry("B", 0, [20.0], column="few"),
        entry("B", 0, [5.0], column="many"),
    ]
    overview, *others = tables_of(entries)
    assert overview.head == ["method", "few", "many"]
    assert texts(overview) == [["A", "10.00", ""], ["B", "20.00", "5.00"]]
    assert [t.title for t in others] == [
        "few", "many", "few, the same training time", "many, the same training time"
    ]  # fmt: skip


def test_a_fixed_time(entry):
    entries = [entry("slow", 0, [30, 20], step=10), entry("fast", 0, [40, 30, 25, 24], step=2)]
    _, table = tables_of(entries)
    assert table.head[2] == "after 8 s"
    assert [row[2].text for row in table.rows] == ["", "24.00"]
    _, table = tables_of(entries, budget=15)
    assert texts(table) == [
        ["slow", "1", "30.00", "20.00", "20"],
        ["fast", "1", "24.00", "24.00", "8"],
    ]
    assert table.notes == ["Ended before, so that its last error counts: fast."]


@pytest.mark.parametrize(
    ("row", "config", "expected"),
    [
        ("Meta-Semi", {}, ("4.75 ± 0.20", 20.0)),
        ("Meta-Semi", {"num_labels": 4000}, ("3.50 ± 0.10", 20.0)),
        ("Meta-Semi", {"net": "cnn13"}, None),
        ("Meta-Semi", {"dataset": "cifar100"}, None),
        ("Meta-Semi, ours", {}, None),
    ],
)
def test_a_published_number_needs_the_very_cell(entry, monkeypatch, row, config, expected):
    known = {
        ("table2", "cifar10", "wrn_28_2", 250, "Meta-Semi"): (4.75, 0.2),
        ("table2", "cifar10", "wrn_28_2", 4000, "Meta-Semi"): (3.5, 0.1),
    }

    def paper(*cell):
        return cell in known and reference.published.Number(*known[cell], "", "Paper", cell[2])

    monkeypatch.setattr(reference.published, "paper", lambda *cell: paper(*cell) or None)
    monkeypatch.setattr(reference.published, "usb", lambda *cell: None)
    entries = [entry(row, 0, [20.0], config=config), entry("other", 0, [1.0], config=config)]
    table = tables_of(entries, "table2")[0]
    if expected is None:
        assert "paper" not in table.head
        assert table.notes == []
    else:
        place = table.head.index("paper")
        text, ours = expected
        assert table.rows[0][place].text == text
        gap = table.rows[0][place + 1]
        assert gap.value == pytest.approx(ours - float(text[:4]))
        assert gap.text == f"{gap.value:+.2f}"
        assert [cell.text for cell in table.rows[1][place : place + 2]] == ["", ""]
        (note,) = table.notes
        assert note == "paper: Paper; wrn_28_2. Difference: our median of last 20 minus theirs."
    assert "paper" not in tables_of(entries)[0].head


def test_which_of_our_errors_is_compared(entry, monkeypatch):
    """USB's best, the paper's median with a WRN, and else the best if it is chosen fairly."""

    def measures(**kwargs):
        entries = [entry("Mean Teacher", 0, [20.0], **kwargs)]
        paper = {"wrn_28_2": "table2", "cnn13": "table1"}[entries[0].config["net"]]
        found = reference.beside(numbers.cells(numbers.runs(entries)), paper).iloc[0]
        return found["paper"] and found["paper"].measure, found["usb"] and found["usb"].measure

    assert measures() == ("median_last_20", "best")
    cnn13 = {"net": "cnn13", "num_labels": 1000}
    assert measures(config=cnn13)[0] == "last"
    assert measures(config=cnn13, validation=[20.0])[0] == "best"
    monkeypatch.setattr(Entry, "error_on", "validation")
    assert measures() == (None, None)


def test_settings_side_by_side(entry):
    entries = [
        entry("A", 0, config={"ema_m": 0.99, "ict_alpha": 0.5}),
        entry("A", 1, config={"ema_m": 0.99, "ict_alpha": 0.5}),
        entry("B", 0, config={"ema_m": None}, varied={"mixup_beta": 0.5}),
        entry("B", 0, config={"ema_m": None}, varied={"mixup_beta": 1.0}),
    ]
    (table,) = tables.difference_tables(entries)
    assert table.head == ["option", "A", "B"]
    assert texts(table) == [
        ["ema_m", "0.99", "null"],
        ["ict_alpha", "0.5", ""],
        ["mixup_beta", "", "0.5, 1.0"],
    ]
    assert tables.difference_tables(entries[:2]) == []


def test_what_runs_were_made_with(entry):
    table = tables.machine_table([entry("A", s) for s in (0, 1, 2)])
    commit = "c0ffeec0ffee"
    made = ["A CPU, cpu, 1 of 2 cores, 24 GB", "python 3.11.2, torch 2.9.1"]
    assert texts(table) == [
        [commit, *made, "2"],
        [f"{commit} with changes not committed", *made, "1"],
    ]


def test_markdown_escapes_names_and_marks_the_best(entry):
    entries = [entry("A|B <i>*x*</i>", s, [e]) for s, e in enumerate((1.0, 1.0))]
    entries += [entry("A", s, [e]) for s, e in enumerate((50.0, 50.0))]
    page = markdown("A `title`", "All.", "Rule.", tables_of(entries), ["rest"])
    assert r"| A\|B \<i\>\*x\*\</i\> | 2 | **-49.00** | -49.00 to -49.00 |" in page
    assert page.startswith("# A \\`title\\`\n\nAll.\n\n## CIFAR-10 250\n\n| method | runs |")
    assert "\n| --- | ---: | ---: |" in page

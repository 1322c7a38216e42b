import json

import pytest

from metasemi_plugin.bench import report, step
from metasemi_plugin.bench.setting import Setting
from metasemi_plugin.cli import bench, main

TINY = ["--net", "tiny:net", "--img_size", "8", "--batch_size", "3", "--ulb_batch_size", "4",
        "--threads", "1", "--device", "cpu", "--rounds", "1"]  # fmt: skip
ROW = {"method": "plain", "median_ms": 1.0, "ratio_to_plain": 1.0, "ratio_range": [1.0, 1.0],
       "extra_memory_mb": 0.0, "max_rel_diff": None, "sign_agreement": None,
       "max_rel_diff_raw": None, "sign_agreement_raw": None, "error": None}  # fmt: skip


def test_step(tmp_path, capsys):
    file = tmp_path / "new" / "step.json"
    words = ["--methods", "forward", "--algorithms", "metasemi", "--no_memory"]
    assert main(["bench", "step", *TINY, *words, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "| forward mode, ours | " in out
    assert "is 1.47." in out  # (3 * 3 + 5 * 7) / (3 * 3 + 3 * 7)
    record = json.loads(file.read_text())
    assert [row["method"] for row in record["rows"]] == ["plain", "forward"]
    assert [row["algorithm"] for row in record["train_steps"]] == ["supervised", "metasemi"]
    assert record["setting"]["threads"] == 1
    assert {"CPU", "torch", "Python"} <= record["machine"].keys()
    assert record["headline"]["ours / plain, time"] == record["rows"][1]["ratio_to_plain"]


def test_standard_writes_record_page_and_picture(tmp_path, monkeypatch, capsys):
    setting = Setting("tiny:net", img_size=8, batch_size=3, ulb_batch_size=4, device="cpu")
    in_bf16 = setting._replace(dtype="bf16")
    monkeypatch.setattr(bench, "STANDARD", [
        bench.Part(setting, 1, ("metasemi",), operators=True), bench.Part(in_bf16, 1)
    ])  # fmt: skip
    monkeypatch.setattr(step, "peak_mb", lambda setting, method: 1.0)
    monkeypatch.setattr(report, "cpu_has_bf16", lambda: False)
    assert main(["bench", "standard", "--folder", str(tmp_path / "step")]) == 0
    assert sorted(p.name for p in (tmp_path / "step").iterdir()) == [
        "README.md", "step.json", "step.png"
    ]  # fmt: skip
    assert bench.NO_BF16 in capsys.readouterr().out
    (record,) = json.loads((tmp_path / "step" / "step.json").read_text())
    assert record["setting"]["dtype"] == "fp32"
    assert record["operators"][-1]["operator"] == "total"
    page = (tmp_path / "step" / "README.md").read_text()
    assert "| self time of operators, ms | plain step | forward mode, ours | unrolled" in page
    assert "(aim: at most 1.6)" in page
    assert (tmp_path / "step" / "step.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_without_numbers_says_so():
    missing = {**dict.fromkeys(ROW), "method": "higher", "error": "ModuleNotFoundError: no"}
    record = report.record(Setting(device="cpu"), 1, [ROW, missing], [])
    page = report.markdown([record])
    assert (
        "| unrolled by higher | not available: ModuleNotFoundError: no |  |  |  |  |  |  |" in page
    )


def test_headline_of_hand_made_rows():
    ours = {**ROW, "method": "forward", "ratio_to_plain": 1.6, "extra_memory_mb": 2.0}
    unrolled = {**ROW, "method": "unrolled", "ratio_to_plain": 8.0, "extra_memory_mb": 40.0}
    whole = [
        {"algorithm": "metasemi", "ratio_to_supervised": 1.8},
        {"algorithm": "mixmatch", "ratio_to_supervised": 2.0},
        {"algorithm": "ict", "ratio_to_supervised": None},
    ]
    assert report.headline([ROW, ours, unrolled], whole) == {
        "ours / plain, time": pytest.approx(1.6),
        "unrolled / ours, time": pytest.approx(5.0),
        "ours / unrolled, extra memory": pytest.approx(0.05),
        "train_step: metasemi / mixmatch": pytest.approx(0.9),
    }


def test_bad_input_is_one_line_and_status_2(capsys):
    assert main(["bench", "step", *TINY, "--net", "cnn31"]) == 2
    assert "net: unknown 'cnn31'; did you mean 'cnn13'" in capsys.readouterr().err


def test_train_is_the_command_line_of_a_run(capsys):
    assert main(["train", "--sed", "1"]) == 2
    assert "did you mean 'seed'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["bnch"], ["bench"], ["bench", "step", "--rounds", "0"]])
def test_wrong_words_end_with_status_2(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "train" in out
    assert "Time a training step and its rivals." in out


def test_a_page_that_is_not_its_own_stays(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    assert main(["bench", "standard", "--folder", str(tmp_path)]) == 2
    assert "README.md would be replaced, but there is no step.json" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"

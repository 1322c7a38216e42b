import json
import subprocess
import sys
from pathlib import Path

import pytest

from metasemi_plugin import cli, train
from metasemi_plugin.cli.ls import KINDS, main
from metasemi_plugin.config import help
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder.layout import recorded

ROOT = Path(__file__).parents[2]


def printed(capsys, kind):
    assert main([kind]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", KINDS.keys() - {"runs"})
def test_fits_100_columns_without_trailing_space(capsys, kind):
    lines = printed(capsys, kind)
    # But for a configuration's net of timm, which stands last.
    assert max(len(line) for line in lines if " timm/" not in line) <= 100
    assert all(line == line.rstrip() for line in lines)


def test_every_algorithm_with_every_option_and_its_default(capsys):
    shown, name = {}, None
    for line in printed(capsys, "algorithms"):
        if not line.startswith(" "):
            name, origin, *_ = line.split()
            assert origin == ALGORITHMS[name].origin
            shown[name] = []
        elif line.startswith("    --"):
            shown[name].append(tuple(line.split()[:2]))
    assert shown == {
        name: [(f"--{o.name}", help.shown(o.default)) for o in algorithm.options]
        for name, algorithm in ALGORITHMS.items()
    }


def test_all_but_supervised_training_have_a_reference():
    without = {name for name, algorithm in ALGORITHMS.items() if not algorithm.reference}
    assert without == {"supervised", "fullysupervised"}


def test_backbones_and_datasets(capsys):
    lines = printed(capsys, "backbones")
    assert {"cnn13", "wrn_28_2", "timm/NAME"} <= {line.split()[0] for line in lines}
    lines = printed(capsys, "datasets")
    assert {"digits", "cifar10", "image_folder"} <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 1 for line in lines)


def test_configs_are_found_from_anywhere(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header, *lines = printed(capsys, "configs")
    assert header.split() == ["file", "dataset", "labels", "iters", "net"]
    files = {p for p in ROOT.glob("config/*/*.yaml") if p.parent.name not in ("base", "suites")}
    assert {line.split()[0] for line in lines} == {str(p.relative_to(ROOT)) for p in files}
    row = next(line.split() for line in lines if line.startswith("config/metasemi/digits_40"))
    assert row[1:] == ["digits", "40", "2000", "cnn13_slim"]


def test_configs_of_the_folder_one_is_in_come_first(capsys, tmp_path, monkeypatch):
    (tmp_path / "config" / "mine").mkdir(parents=True)
    (tmp_path / "config" / "mine" / "run.yaml").write_text("algorithm: vat\nnet: cnn13\n")
    monkeypatch.chdir(tmp_path)
    _, *lines = printed(capsys, "configs")
    assert [line.split() for line in lines] == [["config/mine/run.yaml", "cnn13"]]


@pytest.mark.parametrize("argv", [[], ["algorithm"], ["algorithms", "configs"]])
def test_an_unknown_kind_is_named(argv):
    with pytest.raises(UserError, match="expected one of algorithms, backbones, datasets, configs"):
        main(argv)


def test_on_the_command_line():
    command = [sys.executable, "-m", "metasemi_plugin", "ls", "backbones"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "cnn13_slim" in result.stdout


def test_runs_of_a_folder(capsys, tmp_path, tiny_run):
    with pytest.raises(UserError, match="holds no run: name a folder of run folders"):
        main(["runs", str(tmp_path)])
    train(**tiny_run("supervised", save_name="a-b"))
    ended = recorded(tmp_path / "a-b")
    for name, changes in {
        "cut": {"status": "running", "iterations": 3},
        "early": {"status": "failed", "error": "no disk", "test": None, "eval": None},
        "val": {"test": None, "chosen_on": "validation", "eval": {"last": 12.345}},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(ended | {"seconds": 61.0} | changes))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    error = f"{ended['test']['last']:.2f} % test".split()
    assert header.split() == ["run", "status", "iterations", "error", "on", "time"]
    assert [line.split() for line in lines] == [
        ["a-b", "complete", "6/6", *error, "00:00"],
        ["bad", "damaged"],
        ["cut", "cut", "off", "3/6", *error, "01:01"],
        ["early", "failed", "6/6", "01:01", "no", "disk"],
        ["val", "complete", "6/6", "12.35", "%", "validation", "01:01"],
    ]


def test_one_folder_of_runs(capsys):
    with pytest.raises(UserError, match=r"expected one of .* runs"):
        main(["runs", "a", "b"])
    with pytest.raises(UserError, match="expected one of"):
        main(["configs", "a"])


@pytest.mark.parametrize("kind", ["configs", "datasets"])  # more and less than a pipe's buffer
def test_a_reader_who_has_seen_enough_ends_it_without_a_traceback(kind):
    words = [sys.executable, "-m", "metasemi_plugin", "ls", kind]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 1


def test_another_broken_pipe_is_no_reader_who_has_seen_enough(monkeypatch):
    def broken(argv):
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr("metasemi_plugin.cli.ls.main", broken)
    with pytest.raises(BrokenPipeError, match="of a worker"):
        cli.main(["ls", "configs"])

"""`export`: what other programs compute from the file is what the net computes."""

import json
import sys
from pathlib import Path

import pytest
import safetensors
import torch

from metasemi_plugin import load, train
from metasemi_plugin.cli import main
from metasemi_plugin.model import export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from tiny import TINY_RUN

    changes = {"save_dir": str(tmp_path_factory.mktemp("runs")), "save_name": "run"}
    return Path(train(**TINY_RUN | changes)["folder"])


def onnx(file):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(file))
    return lambda x: torch.from_numpy(session.run(["logits"], {"x": x.numpy()})[0])


def weights(file):
    with safetensors.safe_open(str(file), "pt") as opened:
        described = json.loads(opened.metadata()["description"])
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert described["classes"] == [str(i) for i in range(10)]
    from tiny import net

    built = net(len(described["classes"]))
    built.load_state_dict(found)
    return export.OnlyLogits(built).eval()


LOADED = {"onnx": onnx, "torchscript": torch.jit.load, "safetensors": weights}


@pytest.mark.parametrize("form", export.FORMATS)
def test_round_trip(run, form, tmp_path, capsys):
    if form == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    out = tmp_path / "file"
    assert main(["export", str(run), "--format", form, "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    model = load(run)
    again = LOADED[form](out)
    for count in (1, 7):
        x = torch.randn(count, 3, 16, 16)
        with torch.no_grad():
            expected, found = model.module(x)["logits"], again(x)
        assert found.shape == (count, 10)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    says = json.loads((tmp_path / "file.json").read_text())
    assert says.keys() == set(export.INPUT)
    assert (says["mean"], says["img_size"]) == (list(model.description.mean), 16)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "file.json"}


def failing(run, tmp_path, capsys, form="safetensors", out="out/file"):
    (tmp_path / "out").mkdir(exist_ok=True)
    words = ["export", str(run), "--format", form, "--out", str(tmp_path / out)]
    assert main(words) == 2
    assert list((tmp_path / "out").iterdir()) == []
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_file_of_other_logits_is_not_written(run, tmp_path, capsys, monkeypatch):
    def other(net, *rest):
        content, again = export._safetensors(net, *rest)
        return content, lambda x: again(x) + 2e-5

    monkeypatch.setitem(export.FORMATS, "safetensors", other)
    assert "differ from the net's by 2.0e-05" in failing(run, tmp_path, capsys)


def test_what_goes_wrong_is_one_line(run, tmp_path, capsys, monkeypatch):
    assert "cannot write" in failing(run, tmp_path, capsys, out="gone/file")
    monkeypatch.setattr(torch.jit, "trace", lambda *a: 1 / 0)
    said = failing(run, tmp_path, capsys, "torchscript")
    assert "'tiny:net' cannot be exported as torchscript: division by zero" in said
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = failing(run, tmp_path, capsys, "onnx")
    assert "pip install 'metasemi-plugin[export]'" in said
    assert main(["export", str(run), "--format", "onnx", "--out", str(run / "file")]) == 2
    assert "where only a run writes" in capsys.readouterr().err

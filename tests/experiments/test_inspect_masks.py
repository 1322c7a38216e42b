from pathlib import Path

import pytest

from metasemi_plugin import train
from metasemi_plugin.cli.inspect import main
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.inspect.masks import KINDS, Verdict, judge, table
from metasemi_plugin.host.loaded import loaded


def test_of_a_run(tiny_run, capsys):
    folder = train(**tiny_run(save_name="run"))["folder"]
    assert main([folder, "--labeled", "6", "40", "--batches", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()[-2 - 2 * len(KINDS) :]
    assert [line.split(" | ")[1] for line in lines[2:]] == ["6", "40"] * 3


def test_what_is_judged(tiny_run):
    folder = train(**tiny_run(num_train_iter=100, num_eval_iter=100))["folder"]
    algorithm = loaded(Path(folder), "latest_model.pth")
    before = {name: t.clone() for name, t in algorithm.model.state_dict().items()}
    found = judge(algorithm, [6, 40], batches=4)
    assert all((algorithm.model.state_dict()[name] == t).all() for name, t in before.items())
    assert {v.samples for v in found.values()} == {found["soft", 6].samples}
    for kind in KINDS:
        small, large = found[kind, 6], found[kind, 40]
        assert 0 < small.right == large.right < small.samples
        assert small.kept != large.kept
        assert all(0 < v.right_and_kept <= min(v.kept, v.right) for v in (small, large))
    # The teacher's classes are right or wrong whether they are soft or not; true ones more often.
    assert found["soft", 6].right == found["one-hot", 6].right
    assert found["true, half by chance", 6].right > 0.4 * found["soft", 6].samples


def test_the_table_has_shares_and_a_standard_error():
    row = table({("soft", 25): Verdict(200, 100, 110, 60)}).splitlines()[-1]
    # 60 of 100 and 50 of 100: 10 +- 100 sqrt(0.6 * 0.4 / 100 + 0.5 * 0.5 / 100).
    assert row == "| soft | 25 | 50.0 | 60.0 | 50.0 | +10.0 ± 7.0 |"


def test_what_has_no_mask_is_named_and_the_others_are_judged(tiny_run, tmp_path, capsys):
    with pytest.raises(UserError, match=r"is no run folder: there is no config\.yaml"):
        main([str(tmp_path)])
    ours = train(**tiny_run(save_name="ours"))["folder"]
    folder = train(**tiny_run("supervised", save_name="run"))["folder"]
    assert main([folder, ours, "--batches", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{folder}: supervised has no mask" in out
    assert f"The mask of {ours}:\n\n| pseudo labels |" in out
    with pytest.raises(UserError, match=r"gone\.pth cannot be read"):
        main([folder, "--checkpoint", "gone.pth"])

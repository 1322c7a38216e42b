import argparse
from pathlib import Path

import pytest

from metasemi_plugin.cli.words import parse
from metasemi_plugin.config.option import CALL_OPTIONS, Option
from metasemi_plugin.config.options import NOT_HERE
from metasemi_plugin.config.values import coerce
from metasemi_plugin.config.yaml_files import write_yaml
from metasemi_plugin.errors import UserError
from metasemi_plugin.host import launch
from metasemi_plugin.host.config import options, resolve
from metasemi_plugin.host.views import supported_algorithms

CONFIGS = Path(__file__).parents[2] / "config/metasemi"


@pytest.fixture
def yaml(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_command_line_over_yaml_over_defaults(yaml):
    path = yaml("algorithm: metasemi\nlr: 0.5\nmixup_beta: 0.3\n")
    args = resolve(path, {"lr": "0.25"})
    assert (args.lr, args.mixup_beta, args.momentum) == (0.25, 0.3, 0.9)


def test_base_is_relative_to_the_file_and_weaker_than_it(yaml, monkeypatch):
    yaml("batch_size: 9\nlr: 1\n", "base.yaml")
    yaml("base: ../base.yaml\nlr: 2\n", "sub/middle.yaml")
    path = yaml("base: middle.yaml\nuratio: 5\n", "sub/run.yaml")
    monkeypatch.chdir("/")
    args = resolve(path, {})
    assert (args.batch_size, args.lr, args.uratio) == (9, 2.0, 5)


def test_of_several_bases_the_last_wins(yaml):
    yaml("batch_size: 9\nlr: 1\nuratio: 1\n", "task.yaml")
    yaml("base: ../task.yaml\nlr: 2\nalgorithm: vat\n", "methods/vat.yaml")
    path = yaml("base: [task.yaml, methods/vat.yaml]\nuratio: 5\n")
    args = resolve(path, {})
    assert (args.batch_size, args.lr, args.uratio, args.algorithm) == (9, 2.0, 5, "vat")
    # The first base says lr as well, and the second one's own base does not come after it.
    path = yaml("base: [methods/vat.yaml, task.yaml]\n")
    assert resolve(path, {}).lr == 1.0


@pytest.mark.parametrize("base", ["a.yaml", "[fine.yaml, a.yaml]"])
def test_a_base_that_leads_back_is_an_error(yaml, base):
    yaml("base: b.yaml\n", "a.yaml")
    yaml("lr: 1\n", "fine.yaml")
    with pytest.raises(UserError, match="leads back to itself"):
        resolve(yaml(f"base: {base}\n", "b.yaml"), {})


def test_unknown_keys_name_file_key_and_neighbor(yaml):
    path = yaml("mixup_bta: 0.3\n")
    with pytest.raises(UserError) as error:
        resolve(path, {"sed": "3"})
    first, second = str(error.value).split("\n")
    assert first == f"{path}: unknown key 'mixup_bta'; did you mean 'mixup_beta'?"
    assert second == "command line: unknown key 'sed'; did you mean 'seed'?"


def test_an_algorithms_option_belongs_to_it_alone():
    assert resolve(None, {"algorithm": "mixmatch", "mixup_alpha": "0.75"}).mixup_alpha == 0.75
    with pytest.raises(UserError, match="unknown key 'mixup_alpha'"):
        resolve(None, {"algorithm": "metasemi", "mixup_alpha": "0.75"})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", "fast", "lr: expected a number, got 'fast'"),
        ("seed", "1.5", "seed: expected a whole number, got '1.5'"),
        ("amp", "perhaps", "amp: expected true or false, got 'perhaps'"),
        ("sync_bn", "everywhere", "sync_bn: expected true or false, got 'everywhere'"),
        ("net_args", "3", "net_args: expected a mapping, got 3"),
        ("batch_size", "0", "batch_size: must be at least 1, not 0"),
        ("mixup_beta", "-1", "mixup_beta: must be above 0"),
        ("ema_m", "1", r"ema_m: must be in \[0, 1\)"),
        ("dataset", "cifar", "dataset: unknown 'cifar'; did you mean 'cifar10'"),
        ("optim", "adam", "optim: unknown 'adam'; did you mean 'Adam'"),
        ("scheduler", "step", "scheduler: unknown 'step'; one of cosine, half_cosine, constant"),
        ("algorithm", "mixmtch", "algorithm: unknown 'mixmtch'; did you mean 'mixmatch'"),
        ("algorithm", "zzz", "one of fast_swa, fixmatch, flexmatch"),
        ("save_name", "../x", "save_name: must be one folder name"),
        ("lr_restarts", "20", "lr_restarts: must be rising numbers below num_train_iter, not 20"),
        ("lr_restarts", "5;9", "lr_restarts: must be rising numbers below num_train_iter"),
        ("epoch", "99", "99 epochs do not fit into num_train_iter 20"),
        (
            "meta_gradient",
            "backward",
            "meta_gradient: unknown 'backward'; one of forward, unrolled",
        ),
        ("consistency", "itc", "consistency: unknown 'itc'; did you mean 'ict'"),
        ("ict_mix", "prob", "ict_mix: unknown 'prob'; did you mean 'probs'"),
        ("teacher", "x", "teacher: unknown 'x'; one of ema, student"),
        ("pseudo_label", "hard", "pseudo_label: unknown 'hard'; one of soft, onehot"),
        ("mixup_on", "labelled", "mixup_on: unknown 'labelled'; did you mean 'labeled'"),
        ("weights", "zeros", "weights: unknown 'zeros'; one of binary, signed, normalized, ones"),
        ("consistency_weight", "-1", "consistency_weight: must be at least 0, not -1"),
        ("consistency_ramp", "-1", "consistency_ramp: must be at least 0"),
        ("assumption1", "-5", "assumption1: must be at least 0"),
        ("image_grid", "-1", "image_grid: must be at least 0"),
        ("assumption1_batches", "0", "assumption1_batches: must be above 0"),
        ("ict_alpha", "0", "ict_alpha: must be above 0"),
        ("vat_eps", "0", "vat_eps: must be above 0"),
        ("amp_dtype", "half", "amp_dtype: unknown 'half'; one of float16, bfloat16"),
        ("channels_last", "maybe", "channels_last: unknown 'maybe'; one of auto, true, false"),
        ("multiprocessing_distributed", "true", "say how many with world_size"),
        ("world_size", "2", "set multiprocessing_distributed as well, or start with torchrun"),
        ("mixup_partners", "all", "mixup_partners: unknown 'all'; one of batch, rank"),
        ("resize", "fit", "resize: unknown 'fit'; one of crop, pad, stretch"),
        ("save_name", "..", "save_name: must be one folder name"),
        ("save_name", "", "save_name: must be one folder name"),
        ("save_name", "a\0b", "save_name: must be one folder name"),
        ("save_name", "x" * 300, "save_name: must be one folder name"),
        ("save_dir", "a\0b", "save_dir: must not have a NUL character"),
        ("num_labels", "41", "num_labels: 41 cannot be divided .* 10 classes: use 40 or 50"),
        ("num_classes", "12", "num_classes: cifar10 has 10; set it so"),
        ("uratio", "0", "uratio: must be at least 1"),
        ("net", "wrn_28_3", "net: unknown 'wrn_28_3'; did you mean 'wrn_28_"),
        ("device", "tpu", "device: 'tpu' is none of auto, cpu"),
        ("seed", "-1", "seed: must be at least 0"),
        ("seed", "4294967296", "seed: must be less than 4294967296"),
        ("lr", "inf", "lr: must be finite"),
        ("batch_size", True, "batch_size: expected a whole number, got True"),
        ("lr", True, "lr: expected a number, got True"),
        ("lr", [0.1], "lr: expected a number, got a list"),
        ("net_args", "{", "net_args: not valid YAML"),
        ("momentum", "1", r"momentum: must be in \[0, 1\)"),
        ("crop_ratio", "1.5", "crop_ratio: must be above 0 and at most 1"),
        ("bn_momentum", "0", "bn_momentum: must be above 0 and at most 1"),
        ("num_warmup_iter", "20", "num_warmup_iter: must be less than 20, the iterations"),
        ("label_folds", "1", r"label_folds: must be 0 \(none\), or at least 2"),
        ("max_bad_steps", "0", "max_bad_steps: must be at least 1"),
        ("num_save_iter", "0", "num_save_iter: must be at least 1"),
        ("num_eval_iter", 2**63, "num_eval_iter: must be at most 9223372036854775807"),
        ("lb_imb_ratio", "0", r"lb_imb_ratio: must be 1 \(all classes alike\), above, or below -1"),
        ("ulb_imb_ratio", "-1", "ulb_imb_ratio: must be 1 "),
        ("ulb_imb_ratio", "50", "ulb_imb_ratio: set ulb_num_labels as well"),
        ("ulb_num_labels", "0", "ulb_num_labels: must be at least 1"),
        ("ulb_num_labels", "41", "ulb_num_labels: 41 cannot be divided .* use 40 or 50"),
        ("lb_imb_ratio", "401", "lb_imb_ratio: with num_labels 400, .* the smallest has none"),
        ("save_minutes", "0", "save_minutes: must be above 0"),
    ],
)
def test_wrong_values_are_named(key, value, message):
    with pytest.raises(UserError, match=message):
        resolve(None, {key: value})


@pytest.mark.parametrize(
    ("algorithm", "key", "value", "message"),
    [
        ("meanteacher", "unsup_warm_up", "0", "must be above 0"),
        ("fast_swa", "unsup_warm_up", "0", "must be above 0"),
        ("fixmatch", "T", "0", "must be above 0"),
        ("freematch", "ema_p", "1", r"must be in \[0, 1\)"),
        ("uda", "tsa_schedule", "cubic", "unknown 'cubic'; one of none, linear, log, exp"),
        ("supervised_mixup", "mixup_alpha", "0", "must be above 0"),
        ("ict", "ict_alpha", "0", "must be above 0"),
        ("ict", "ict_mix", "prob", "unknown 'prob'; did you mean 'probs'"),
        ("ict", "unsup_warm_up", "-1", "must be at least 0"),
        ("sntg", "unsup_warm_up", "-1", "must be at least 0"),
        ("temporal_ensembling", "unsup_warm_up", "-1", "must be at least 0"),
        ("metasemi_mask_trial", "image_grid", "-1", "must be at least 0"),
        ("metasemi_mask_trial", "mask_start", "-1", "must be at least 0"),
        ("metasemi_mask_trial", "mask_labels", "0", "must be at least 1, not 0"),
    ],
)
def test_options_of_other_algorithms_are_checked(algorithm, key, value, message):
    with pytest.raises(UserError, match=f"{key}: {message}"):
        resolve(None, {"algorithm": algorithm, key: value})


LONG_TAIL = {"lb_imb_ratio": 4, "ulb_num_labels": 40}


@pytest.mark.parametrize(
    ("others", "refused"),
    [
        ({"algorithm": "fullysupervised"}, {"lb_imb_ratio", "ulb_num_labels"}),
        ({"dataset": "stl10"}, {"ulb_num_labels"}),
        ({"dataset": "stl10", "protocol": "paper"}, {"lb_imb_ratio", "ulb_num_labels"}),
        ({"num_labels": 41, "ulb_num_labels": 41, "ulb_imb_ratio": 2}, set()),
    ],
)
def test_long_tails_are_refused_where_the_data_have_none(others, refused):
    try:
        resolve(None, LONG_TAIL | others)
        found = set()
    except UserError as error:
        found = {line.split(": ")[1] for line in str(error).splitlines()}
    assert found == refused


class Noting(argparse.Namespace):
    """Settings that note which of them are read."""

    def __getattribute__(self, name):
        noted.add(name)
        return super().__getattribute__(name)


noted: set[str] = set()
OTHER = {
    bool: lambda value: not value,
    int: lambda value: (value or 0) + 1,
    float: lambda value: value + 0.5,
    str: lambda value: f"another {value}",
}


def test_each_option_of_the_host_is_read_or_refused(tiny_run, monkeypatch):
    """Refused: any value but the host's own, with a reason."""
    from semilearn import get_config

    names = vars(get_config({"algorithm": "fixmatch"})).keys() - set(CALL_OPTIONS)
    known = options("fixmatch")
    refused = set()
    for name in names:
        other = OTHER[known[name].type](known[name].default)
        try:
            resolve(None, {"algorithm": "fixmatch", name: other})
        except UserError as error:
            why = NOT_HERE[name].help if name in NOT_HERE else None
            if str(error) == f"command line: {name}: {why}":
                refused.add(name)
    assert refused == set(NOT_HERE) == {
        "train_sampler", "net_from_name", "imb_algorithm", "gpu", "rank", "dist_url",
        "dist_backend", "max_length", "max_length_seconds", "sample_rate",
    }  # fmt: skip

    resolved = launch.resolve
    monkeypatch.setattr(launch, "resolve", lambda *args: Noting(**vars(resolved(*args))))
    long_tail = {"lb_imb_ratio": 2, "ulb_imb_ratio": 2, "ulb_num_labels": 50}
    launch.train(None, tiny_run("fixmatch", save_name="run", **long_tail))
    assert names - refused - noted == set()


def test_fully_supervised_needs_no_number_of_labels():
    assert resolve(None, {"algorithm": "fullysupervised", "num_labels": "41"}).num_labels == 41


def test_another_algorithm_leaves_out_what_only_the_files_own_knows(yaml, tiny_run, capsys):
    path = yaml("algorithm: metasemi\nmixup_beta: 0.3\nteacher: student\nlr: 0.2\n")
    args = resolve(path, {"algorithm": "fixmatch", "T": "0.7"})
    assert (args.algorithm, args.lr, args.T) == ("fixmatch", 0.2, 0.7)
    assert not hasattr(args, "mixup_beta")
    for wrong in ({"mixup_beta": "0.3"}, {"mixup_bta": "0.3"}):
        with pytest.raises(UserError, match="command line: unknown key 'mixup_b"):
            resolve(path, {"algorithm": "fixmatch"} | wrong)
    with pytest.raises(UserError, match=r"wrong.yaml: unknown key 'mixup_bta'"):
        resolve(yaml("mixup_bta: 0.3\n", "wrong.yaml"), {"algorithm": "fixmatch"})
    assert resolve(path, {"algorithm": "metasemi"}).mixup_beta == 0.3
    launch.train(path, tiny_run("supervised", save_name="run"))
    said = "options that supervised has not: mixup_beta, teacher: left out\n"
    assert capsys.readouterr().out.count(said) == 1


@pytest.mark.parametrize("name", ["digits_40", "folder_example", "cifar10_250"])
def test_the_readmes_files_take_each_algorithm(name):
    for algorithm in supported_algorithms():
        resolve(f"{CONFIGS}/{name}.yaml", {"algorithm": algorithm})


def test_home_is_expanded_in_paths(yaml, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    yaml("lr: 0.5\n", "base.yaml")
    yaml("base: ~/base.yaml\ndata_dir: ~/photos\n", "sub/run.yaml")
    given = dict.fromkeys(("save_dir", "load_path", "pretrain_path"), "~/x")
    args = resolve("~/sub/run.yaml", given)
    assert (args.lr, args.data_dir) == (0.5, f"{tmp_path}/photos")
    assert args.save_dir == args.load_path == args.pretrain_path == f"{tmp_path}/x"


def test_only_a_bool_may_be_given_without_a_value():
    assert resolve(None, parse(["--amp", "--lr", "1"])).amp is True
    for key, what in (("lr", "a number"), ("save_name", "text"), ("channels_last", "text")):
        with pytest.raises(UserError, match=f"^command line: {key}: expected {what}, got nothing$"):
            resolve(None, parse([f"--{key}"]))
    assert resolve(None, {"channels_last": True}).channels_last == "true"


def test_whole_numbers_are_not_rounded():
    assert resolve(None, {"seed": 2**32 - 1}).seed == 2**32 - 1
    assert coerce("9007199254740993", Option("key", int, 0, "")) == 9007199254740993


def test_all_problems_are_reported_together():
    with pytest.raises(UserError) as error:
        resolve(None, {"lr": "fast", "batch_size": "0", "dataset": "x", "sed": "1", "seed": "-1"})
    lines = str(error.value).split("\n")
    assert sorted(line.split(": ")[1] for line in lines) == [
        "batch_size", "dataset", "lr", "seed", "unknown key 'sed'; did you mean 'seed'?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "not valid YAML"),
        ("- 1\n", "must be a mapping"),
        ("a: 1\na: 2\n", "not valid YAML.*duplicate key"),
        ("base: {x: y.yaml}\n", "base must be one path of a YAML file"),
        ("base: [3]\n", "base must be one path of a YAML file, relative to this, or a list"),
        ("x: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_bad_yaml_is_one_line_that_names_the_file(yaml, text, message):
    path = yaml(text)
    with pytest.raises(UserError, match=message) as error:
        resolve(path, {})
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing.yaml: No such file"):
        resolve(str(tmp_path / "nothing.yaml"), {})


@pytest.mark.parametrize(
    ("value", "kind", "default", "expected"),
    [
        ("1e-3", float, 0.0, 1e-3),
        (1, float, 0.0, 1.0),
        ("1e3", int, 0, 1000),
        ("yes", bool, False, True),
        (False, bool, True, False),
        (7, str, "x", "7"),
        (True, str, "auto", "true"),
        ("None", int, None, None),
        (None, str, "", ""),
        ("none", str, "none", "none"),
        ("{width: 64}", dict, {}, {"width": 64}),
    ],
)
def test_coerce(value, kind, default, expected):
    got = coerce(value, Option("key", kind, default, ""))
    assert got == expected
    assert type(got) is type(expected)


def test_saved_configuration_resolves_to_itself(tmp_path):
    args = resolve(None, {"algorithm": "vat", "seed": "5", "net_args": "{width: 8}"})
    write_yaml(args, tmp_path / "config.yaml")
    assert resolve(str(tmp_path / "config.yaml"), {}) == args
    assert isinstance(args, argparse.Namespace)


def test_save_name_follows_usb_and_tells_files_of_one_task_apart(yaml):
    assert resolve(None, {"seed": "4", "dataset": "digits"}).save_name == "metasemi_digits_400_4"
    for name in ("digits_40", "digits_40_ict"):
        assert resolve(yaml("seed: 4\n", f"{name}.yaml"), {}).save_name == f"metasemi_{name}_4"


def test_nothing_is_written_into_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolve(None, {})
    assert list(Path().iterdir()) == []


def test_net_args_of_files_are_merged_key_by_key(tmp_path):
    (tmp_path / "cell.yaml").write_text("net_args: {width: 16, dropout: 0.1}\n")
    (tmp_path / "method.yaml").write_text("net_args: {dropout: 0.5}\n")
    run = tmp_path / "run.yaml"
    run.write_text("base: [cell.yaml, method.yaml]\nnet_args: {noise: 0.15}\n")
    merged = resolve(str(run), {}).net_args
    assert merged == {"width": 16, "dropout": 0.5, "noise": 0.15}
    assert resolve(str(run), {"net_args": "{width: 8}"}).net_args == {"width": 8}

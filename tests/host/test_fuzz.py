"""Any configuration runs, or is one clear error."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import TINY_RUN

from metasemi_plugin.config.yaml_files import read_yaml
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import options, resolve
from metasemi_plugin.host.nets import net_builder
from metasemi_plugin.host.on_device import on_device
from metasemi_plugin.host.runner import no_host_warnings
from metasemi_plugin.host.views import supported_algorithms

odd_text = st.sampled_from(
    ["", " ", "0", "-1", "1e3", "nan", "inf", "None", "true", "{", "[1", "a: b", "../x", "..", ".",
     "/", "a/b", "é", "\0", "x" * 300, "cpu", "timm/", ":", "a:b", "tiny:net", "os:system"]
)  # fmt: skip
small = st.integers(-3, 12)
numbers = st.one_of(
    small, st.floats(-2, 2), st.sampled_from([0.0, 1e300, -1e-300, float("nan"), float("inf")])
)
huge = st.sampled_from([10**20, -(10**20), 10**400])
others = st.one_of(
    st.none(), st.booleans(), odd_text, st.lists(small, max_size=2),
    st.dictionaries(st.sampled_from(["width", "dropout"]), small, max_size=2),
)  # fmt: skip
# Larger ones are no mistake to find: they only take long, or much memory.
LARGE = {"batch_size", "uratio", "eval_batch_size", "img_size", "num_classes", "num_workers"}
# What leads to files elsewhere, downloads or other processes.
LEFT = {"save_dir", "data_dir", "use_wandb", "use_aim", "num_workers", "dataset", "protocol",
        "resume", "overwrite", "use_tensorboard", "load_path", "assumption1_batches"}  # fmt: skip


def settings_of(draw, algorithm):
    known = sorted(options(algorithm).keys() - LEFT)
    keys = draw(st.lists(st.sampled_from([*known, "mixup_bta", ""]), max_size=4, unique=True))
    return {
        key: draw(st.one_of(numbers, others) if key in LARGE else st.one_of(numbers, huge, others))
        for key in keys
    }


def one_error(error):
    lines = str(error).splitlines()
    assert lines
    assert all(line.strip() for line in lines)
    assert "Traceback" not in str(error)


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_any_values_build_and_take_a_step_or_are_one_error(tmp_path, data):
    algorithm = data.draw(st.sampled_from(supported_algorithms()))
    changes = settings_of(data.draw, algorithm)
    asked = TINY_RUN | {"save_dir": str(tmp_path), "algorithm": algorithm} | changes
    try:
        args = resolve(None, asked)
        with no_host_warnings():
            run = on_device(args.algorithm)(args, net_builder(args))
    except UserError as error:
        one_error(error)
        return
    run.print_fn = lambda *_: None
    run.epoch = 0
    run.call_hook("before_run", "EMAHook")
    run.call_hook("before_train_epoch")
    batches = [next(iter(run.loader_dict[name])) for name in ("train_lb", "train_ulb")]
    out, _ = run.train_step(**run.process_batch(**batches[0], **batches[1]))
    assert isinstance(out["loss"], torch.Tensor)


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet="ab:-[]{}&*!?|>'\"%@`#,. \n\t0123456789", max_size=40),
        st.binary(max_size=40),
    )
)
def test_any_text_is_a_configuration_or_one_error(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    try:
        resolve(str(file), {})
    except UserError as error:
        one_error(error)


@pytest.mark.parametrize(
    "text",
    [
        "lr: 2001-13-45\n",
        "? [1]\n: 2\n",
        "a: &a [*a]\n",
        "net_args: '{'\n",
        "lr: " + "[" * 500 + "]" * 500 + "\n",
        "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
        "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g,*g]\n"
        "lr: [*h,*h,*h,*h,*h,*h,*h,*h,*h,*h]\n",
    ],
)
def test_odd_yaml_is_one_error(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        resolve(str(file), {})
    assert len(str(error.value)) < 3000


def test_reading_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.yaml"
    file.write_text("lr: !!python/object/apply:os.mkdir [harm]\n")
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml(file)
    assert not (tmp_path / "harm").exists()

"""Whole runs: every algorithm trains, evaluates, saves, and goes on as if never interrupted."""

import copy
import inspect
from pathlib import Path

import pytest
import torch

from metasemi_plugin import train
from metasemi_plugin.algorithms import ALGORITHMS as OURS
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.hooks import Hook
from metasemi_plugin.host.loaded import loaded
from metasemi_plugin.host.views import supported_algorithms

HOST_ALGORITHMS = [
    "mixmatch", "meanteacher", "vat", "pimodel", "supervised", "fullysupervised", "pseudolabel",
    "fixmatch", "uda", "remixmatch", "flexmatch", "freematch", "softmatch",
]  # fmt: skip
ALGORITHMS = [*HOST_ALGORITHMS, *OURS]


def state(folder):
    """What a run has come to: model, teacher, optimizer, history. Not how long it took."""
    saved = torch.load(Path(folder) / "latest_model.pth", weights_only=True)
    for key in ("random", "record", "settings"):
        saved.pop(key)
    return saved


def assert_same(a, b, at=""):
    assert type(a) is type(b), at
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for k in a:
            assert_same(a[k], b[k], f"{at}/{k}")
    elif isinstance(a, list):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{at}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    else:
        assert a == b, at


def test_all_of_them_are_supported():
    assert supported_algorithms() == sorted(ALGORITHMS)


CASES = [(name, {}) for name in ALGORITHMS]
CASES += [("sntg", {"sntg_base": "meanteacher"})]
CASES += [("temporal_ensembling", {"uratio": 100})]  # images are seen again
CASES += [("metasemi", {"consistency": "ict"}), ("metasemi", {"consistency": "pimodel"})]
CASES += [("metasemi", {"assumption1": 2, "assumption1_batches": 2})]
CASES += [("metasemi_mask_trial", {"mask_labels": 9, "mask_start": 0.5})]
CASES += [("fast_swa", {"swa_start": 0.4, "swa_cycle": 0.2, "swa_horizon": 0.6})]
CASES += [("meanteacher", {"sigmoid_ramp": True, "ema_warmup": True, "bn_statistics": "precise"})]
CASES += [("metasemi", {"amp": True, "amp_dtype": dtype}) for dtype in ("float16", "bfloat16")]


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_trains_and_resumes_bit_for_bit(algorithm, changes, tiny_run, monkeypatch):
    straight = train(**tiny_run(algorithm, save_name="straight", **changes))
    assert straight["iterations"] == 6
    assert 0 <= straight["last_error"] <= 100
    saved = state(straight["folder"])
    assert [scores["it"] for scores in saved["history"]] == [3, 6]
    moved = [p for n, p in saved["model"].items() if n.endswith("weight")]
    assert any(not torch.equal(p, torch.ones_like(p)) for p in moved)

    class Stop(Hook):
        """Ends the run after iteration 4: one iteration past the last checkpoint."""

        def before_train_step(self, algorithm):
            if algorithm.it == 4:
                raise KeyboardInterrupt

    from metasemi_plugin.host import on_device

    original = on_device.OnDevice.set_hooks

    def with_stop(self):
        original(self)
        self.register_hook(Stop(), "Stop", "LOWEST")

    with monkeypatch.context() as patch:
        patch.setattr(on_device.OnDevice, "set_hooks", with_stop)
        with pytest.raises(KeyboardInterrupt):
            train(**tiny_run(algorithm, save_name="cut", **changes))
    assert state(Path(straight["folder"]).with_name("cut"))["it"] == 3
    resumed = train(**tiny_run(algorithm, save_name="cut", resume=True, **changes))
    assert_same(state(resumed["folder"]), saved)


def test_seed_decides_and_workers_do_not(tiny_run):
    base = state(train(**tiny_run(save_name="a"))["folder"])
    for workers in (1, 2):
        run = train(**tiny_run(save_name=f"{workers} workers", num_workers=workers))
        assert_same(state(run["folder"]), base)
    other = state(train(**tiny_run(save_name="c", seed=4))["folder"])["model"]
    assert not torch.equal(other["classifier.weight"], base["model"]["classifier.weight"])


def test_seed_decides_split_order_initialization_and_chance(build):
    one, same, other = (build("mixmatch", seed=seed) for seed in (3, 3, 4))

    def first(algorithm):
        torch.manual_seed(0)
        algorithm.epoch = 0
        algorithm.call_hook("before_train_epoch")
        return next(iter(algorithm.loader_dict["train_ulb"]))

    seen = {
        "split": lambda a: torch.from_numpy(a.dataset_dict["train_lb"].positions),
        "initialization": lambda a: a.model.classifier.weight.detach(),
        "order": lambda a: first(a)["idx_ulb"],
        "augmentation": lambda a: first(a)["x_ulb_w"],
    }
    for name, see in seen.items():
        assert torch.equal(see(one), see(same)), name
        assert not torch.equal(see(one), see(other)), name


@pytest.mark.parametrize("algorithm", ["metasemi", "supervised"])
def test_evaluation_intervals_and_epochs_that_do_not_divide(algorithm, tiny_run):
    """7 iterations in 3 epochs, evaluated every 2: the last one too, and training is the same."""
    changes = {"num_train_iter": 7, "num_eval_iter": 2, "epoch": 3}
    run = train(**tiny_run(algorithm, save_name="a", **changes))
    one = train(**tiny_run(algorithm, save_name="b", num_train_iter=7, num_eval_iter=7))
    saved = state(run["folder"])
    assert [scores["it"] for scores in saved["history"]] == [2, 4, 6, 7]
    assert run["iterations"] == one["iterations"] == 7
    assert_same(saved["model"], state(one["folder"])["model"])


def test_validation_chooses_and_test_is_scored_beside_it(tiny_run):
    run = train(**tiny_run(num_val=100, num_eval_iter=1, save_name="val"))
    history = state(run["folder"])["history"]
    assert len(history) == 6
    assert all(set(scores) == {"it", "eval", "test"} for scores in history)
    best = min(history, key=lambda scores: scores["eval"])
    assert run["chosen_on"] == "validation"
    assert (run["best_iteration"], run["best_error"]) == (best["it"], best["test"])
    assert run["last_error"] == history[-1]["test"]


def test_evaluation_with_the_students_statistics_is_the_hosts(build):
    algorithm = build("supervised", bn_statistics="student")
    algorithm.call_hook("before_run")
    shadow = {n: t + 0.3 * torch.randn_like(t) for n, t in algorithm.ema.shadow.items()}
    algorithm.ema.shadow = shadow
    algorithm.model.body[1].running_mean.add_(0.5)
    images = algorithm.dataset_dict["eval"].__getitems__(range(360))
    x, y = torch.stack([i["x_lb"] for i in images]), torch.tensor([i["y_lb"] for i in images])

    def loss(params):
        model = copy.deepcopy(algorithm.model).eval()
        model.load_state_dict(params, strict=False)
        return torch.nn.functional.cross_entropy(model(x)["logits"], y).item()

    expected, students = loss(shadow), loss({})
    assert abs(expected - students) > 1e-3
    assert algorithm.evaluate("eval")["eval/loss"] == pytest.approx(expected, rel=1e-5)
    assert loss({}) == students


def test_loading_a_checkpoint_loads_the_shadow(build, tmp_path):
    """semilearn 0.3.2 leaves the last shadow in place and scores test with it."""
    algorithm = build()
    algorithm.epoch = 0
    algorithm.call_hook("before_run")
    algorithm.ema.shadow = {n: t + 1.0 for n, t in algorithm.ema.shadow.items()}
    algorithm.ema_model.load_state_dict(algorithm.ema.shadow, strict=False)
    algorithm.save_model("m.pth", str(tmp_path))
    saved = algorithm.ema.shadow
    algorithm.ema.shadow = {n: torch.zeros_like(t) for n, t in saved.items()}
    algorithm.load_model(tmp_path / "m.pth")
    assert_same(dict(algorithm.ema.shadow), dict(saved))


def test_evaluation_leaves_random_numbers_alone(build):
    algorithm = build()
    algorithm.call_hook("before_run")
    before = torch.get_rng_state()
    algorithm.evaluate("eval")
    assert torch.equal(torch.get_rng_state(), before)


def test_run_folder_is_never_lost(tiny_run):
    run = train(**tiny_run(save_name="run"))
    before = state(run["folder"])
    with pytest.raises(UserError, match=r"exists; --resume continues it, --overwrite replaces it"):
        train(**tiny_run(save_name="run"))
    with pytest.raises(UserError, match="contradict"):
        train(**tiny_run(save_name="run", resume=True, overwrite=True))
    # bad input costs nothing even where replacing was asked for
    with pytest.raises(UserError, match="num_labels"):
        train(**tiny_run(save_name="run", overwrite=True, num_labels=41))
    assert_same(state(run["folder"]), before)
    assert train(**tiny_run(save_name="run", overwrite=True, num_train_iter=3))["iterations"] == 3


def test_a_batch_larger_than_the_labeled_set_is_explained(tiny_run, capsys):
    train(**tiny_run("supervised", save_name="run", batch_size=50, num_train_iter=1))
    out = capsys.readouterr().out
    assert "batch_size 50 is more than the 40 labeled images: some are in a batch twice" in out


def test_resuming_nothing_is_an_error(tiny_run):
    with pytest.raises(UserError, match="no checkpoint"):
        train(**tiny_run(save_name="run", resume=True))


def test_run_folder_holds_config_log_record_and_curves(tiny_run):
    run = train(**tiny_run(save_name="run", use_tensorboard=True))
    folder = Path(run["folder"])
    names = {p.name for p in folder.iterdir()}
    models = {"latest_model.pth", "previous_model.pth", "model_best.pth"}
    record = {"run.json", "metrics.jsonl", "split.npz"}
    assert names == {*models, *record, "config.yaml", "log.txt", "model", "tensorboard", ".lock"}
    log = (folder / "log.txt").read_text()
    assert "6/6  loss" in log
    assert "kept" in log
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(folder / "tensorboard"))
    curves.Reload()
    assert {"train/kept", "train/pseudo_label_acc_kept", "eval/top-1-acc", "lr"} <= set(
        curves.Tags()["scalars"]
    )
    again = train(str(folder / "config.yaml"), save_name="again")
    assert_same(state(again["folder"])["model"], state(run["folder"])["model"])


def test_a_run_starts_from_the_weights_of_another(build, tiny_run, tmp_path, monkeypatch):
    first = train(**tiny_run(save_name="first"))
    file = f"{first['folder']}/latest_model.pth"
    built = build(load_path=file)
    teacher = torch.load(file, weights_only=True)["ema_model"]
    assert_same(dict(built.model.state_dict()), dict(teacher))
    assert_same(dict(built.ema_model.state_dict()), dict(teacher))
    second = tiny_run(save_name="second", load_path=file)
    summary = train(**second)
    # Once it has begun, its own checkpoint is enough, to go on and to look into.
    Path(file).unlink()
    assert train(**second, resume=True)["last_error"] == summary["last_error"]
    assert loaded(Path(summary["folder"]), "latest_model.pth").it == 6
    with pytest.raises(UserError, match="load_path: cannot read"):
        train(**tiny_run(save_name="third", load_path=file))


def test_what_is_looked_into_is_the_net_that_was_evaluated(tiny_run):
    """With Fast SWA not the teacher, but the average of its cycles, with statistics of its own."""
    swa = {"swa_start": 0.4, "swa_cycle": 0.2, "swa_horizon": 0.6, "net": "several:bn_net"}
    folder = Path(train(**tiny_run("fast_swa", **swa))["folder"])
    saved = state(folder)
    algorithm = loaded(folder, "latest_model.pth")
    with algorithm.ema.in_place():
        assert_same(dict(algorithm.model.state_dict()), dict(saved["ema_model"]))
    for part in ("shadow", "statistics"):
        teacher = saved["teacher"][part]
        assert not all(torch.equal(saved["ema_model"][name], t) for name, t in teacher.items())


def test_weights_of_another_net_are_refused_before_the_data(build, tmp_path, monkeypatch):
    import tiny

    torch.save(tiny.net(num_classes=7).state_dict(), tmp_path / "file")
    monkeypatch.setattr("metasemi_plugin.host.on_device.build_splits", None)
    with pytest.raises(UserError, match=r"load_path: .* does not fit 'tiny:net' \(size mismatch"):
        build(load_path=str(tmp_path / "file"))


def test_bn_momentum_reaches_student_and_teacher(build):
    algorithm = build(bn_momentum=0.3)
    momenta = {
        m.momentum
        for net in (algorithm.model, algorithm.ema_model)
        for m in net.modules()
        if isinstance(m, torch.nn.BatchNorm2d)
    }
    assert momenta == {0.3}


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("wrn_28_3", "unknown 'wrn_28_3'; did you mean 'wrn_28_"),
        ("tiny:nothing", "cannot import 'tiny:nothing'"),
        ("nowhere:net", "cannot import 'nowhere:net'"),
        ("timm/resnet1", "resnet1"),
        ("cnn13_slm", "did you mean 'cnn13_slim'"),
    ],
)
def test_a_backbone_that_is_not_there_is_named(build, net, message):
    with pytest.raises(UserError, match=message):
        build(net=net)


def test_net_args_reach_the_builder_or_are_named(build):
    assert build(net="cnn13_slim", net_args={"width": 4}).model.num_features == 4
    with pytest.raises(UserError, match=r"net_args: 'cnn13_slim' does not take \{'wdth': 4\}"):
        build(net="cnn13_slim", net_args={"wdth": 4})


def test_an_image_too_small_for_the_backbone_is_an_error_before_training(build):
    with pytest.raises(UserError, match="16x16"):
        build(net="cnn13_slim", img_size=12)


def test_a_backbone_without_the_hosts_interface_is_an_error(build, monkeypatch):
    import tiny

    monkeypatch.setattr(tiny, "net", lambda num_classes, **_: torch.nn.Flatten())
    with pytest.raises(UserError, match="must return a dict with 'logits' and 'feat'"):
        build()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


class Odd(torch.nn.Module):
    def __init__(self, feature=torch.nn.Identity(), bn=True):  # noqa: B008
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(3, track_running_stats=bn)
        self.feature, self.classifier = feature, torch.nn.Linear(3, 10)

    def forward(self, x):
        feat = self.feature(self.bn(x).mean((2, 3)))
        return {"logits": self.classifier(feat), "feat": feat}


class Custom(torch.nn.Module):
    def forward(self, x):
        return Doubled.apply(x)


def negative():
    return torch.empty(-1)


@pytest.mark.parametrize(
    ("net", "changes", "message"),
    [
        (lambda num_classes, **_: None, {}, "net: 'tiny:net' builds None, which is no torch"),
        (lambda pretrained=False: Odd(), {}, "net: 'tiny:net' cannot be built: .*num_classes"),
        (lambda **_: negative(), {}, "net: 'tiny:net' cannot be built: Trying to create tensor"),
        (
            lambda **_: negative(),
            {"net_args": {"width": -1}},
            r"net_args: 'tiny:net' does not take \{'width': -1\}: Trying to create tensor",
        ),
        (lambda **_: Odd(torch.nn.LazyLinear(3)), {}, "'tiny:net' has lazy layers: pass one image"),
        (lambda **_: Odd(bn=False), {}, "'tiny:net' has BatchNorm without running statistics"),
        (
            lambda **_: Odd(torch.nn.BatchNorm1d(3)),
            {"batch_size": 1, "uratio": 1},
            "fails in training, on 1 images: Expected more than 1 value per channel",
        ),
        (
            lambda **_: Odd(Custom()),
            {},
            "on 2 images: no forward-mode rule for the custom autograd.Function .* unrolled",
        ),
    ],
)
def test_a_backbone_that_cannot_be_trained_is_one_line(build, monkeypatch, net, changes, message):
    import tiny

    monkeypatch.setattr(tiny, "net", net)
    monkeypatch.setattr("metasemi_plugin.host.on_device.build_splits", None)  # before the data
    with pytest.raises(UserError, match=message) as error:
        build(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{"meta_gradient": "unrolled"}, {"weights": "ones"}])
def test_what_needs_no_sweep_takes_any_function(build, monkeypatch, changes):
    import tiny

    monkeypatch.setattr(tiny, "net", lambda **_: Odd(Custom()))
    build(**changes)


def test_missing_data_is_one_line_with_the_two_ways_to_get_it(tiny_run, tmp_path, monkeypatch):
    import urllib.request

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(UserError) as error:
        train(**tiny_run(dataset="cifar10", img_size=32, data_dir=str(tmp_path / "empty")))
    assert "cifar-10-python.tar.gz" in str(error.value)
    assert "run once with a network" in str(error.value)
    assert "\n" not in str(error.value)


def test_train_step_keeps_its_signature(build):
    """The host feeds train_step by the names of its parameters."""
    names = inspect.signature(build().train_step).parameters
    assert list(names) == ["x_lb", "y_lb", "x_ulb_w", "x_ulb_s", "idx_ulb"]

"""The options are declared here and read by semilearn: both must say the same."""

import ast
import inspect
import random

import pytest
from semilearn import get_config
from semilearn.core.utils import ALGORITHMS as HOST_ALGORITHMS

from metasemi_plugin.algorithms import consistency, variants
from metasemi_plugin.config.algorithms import ALGORITHMS
from metasemi_plugin.config.names import BACKBONES, DATASETS
from metasemi_plugin.config.option import CALL_OPTIONS, Range
from metasemi_plugin.config.options import GROUPS, NOT_HERE, OPTIONS, OTHER_DEFAULTS
from metasemi_plugin.data import decode
from metasemi_plugin.host import datasets, nets, on_device, optim, views
from metasemi_plugin.meta_gradient import METHODS

TYPES = {"int": int, "float": float, "str": str, "str2bool": bool, None: bool}


def declared():
    """name -> type of semilearn's options, as its get_config says."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(get_config))):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=[*_, ast.Constant(name)]):
                kind = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("type")
                found[name.lstrip("-").replace("-", "_")] = TYPES[kind]
    return {name: kind for name, kind in found.items() if name not in ("c", "base")}


def test_semilearns_options_have_its_types_and_defaults():
    types = declared()
    assert {"lr", "clip_grad", "resume", "gpu"} < types.keys() < OPTIONS.keys()
    assert {name: OPTIONS[name].type for name in types} == types
    before = random.getstate()
    defaults = vars(get_config({"algorithm": "supervised"}))
    random.setstate(before)
    other = {name for name in types if OPTIONS[name].default != defaults[name]}
    assert other - {"save_name", "dist_url"} == {*OTHER_DEFAULTS} - {"save_name"}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithms_options_are_those_of_its_get_argument(name):
    of_host = [
        (a.name, a.type if isinstance(a.type, type) else bool, a.default)
        for a in HOST_ALGORITHMS[name].get_argument()
    ]
    ours = [(f"--{o.name}", o.type, o.default) for o in ALGORITHMS[name].options]
    assert ours == of_host
    origin = HOST_ALGORITHMS[name].__module__.partition(".")[0]
    assert ALGORITHMS[name].origin == origin


def test_every_algorithm_that_trains_here_is_declared():
    assert sorted(ALGORITHMS) == views.supported_algorithms()


def test_names_are_those_that_there_are():
    assert sorted(DATASETS) == datasets.dataset_names()
    assert sorted(BACKBONES) == nets.backbone_names()


def test_choices_are_those_that_the_code_knows():
    def allowed(name, algorithm="metasemi"):
        own = {option.name: option for option in ALGORITHMS[algorithm].options}
        return (OPTIONS | own)[name].allowed

    assert allowed("weights") == tuple(variants.WEIGHTS)
    assert allowed("consistency") == tuple(consistency.TERMS)
    assert allowed("meta_gradient") == tuple(METHODS)
    assert allowed("amp_dtype") == tuple(on_device.AMP_DTYPES)
    assert allowed("scheduler") == ("cosine", *optim.SCHEDULES)
    assert allowed("resize") == tuple(decode.RESIZE)


def every_option():
    yield from OPTIONS.values()
    for algorithm in ALGORITHMS.values():
        yield from algorithm.options


def test_each_has_help_and_a_default_that_it_may_have():
    assert len(OPTIONS) == sum(map(len, GROUPS.values()))  # no name twice
    for option in every_option():
        assert option.help, option.name
        if option.default in (None, ""):
            continue
        assert isinstance(option.default, option.type) or (
            option.type is float and isinstance(option.default, int)
        )
        if isinstance(option.allowed, Range):
            assert option.allowed.holds(option.default)
        elif option.allowed:
            assert option.default in option.allowed
    assert {"resume", "overwrite"} <= OPTIONS.keys() & {*CALL_OPTIONS}
    assert NOT_HERE.keys() < OPTIONS.keys()

"""What the files of the pull request say, and that they are the plug-in's where they are to be."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from skeleton import NAMES, UPSTREAM, load

import metasemi_plugin

FILES = UPSTREAM / "metasemi"
UTILS = FILES / "semilearn/algorithms/metasemi/utils.py"
CNN13 = FILES / "semilearn/nets/cnn13/cnn13.py"

# Definitions that are those of a module of the plug-in, but for docstrings and annotations ...
EQUAL = {
    "meta_gradient": ["keep_mask", "_with_spare_buffers"],
    "forward_mode/__init__": ["_at_least_single"],
    "forward_mode/rules": [
        "no_rule", "_affine", "_batch_norm", "_leaky_relu", "_relu", "_dropout", "_sum",
    ],
    "forward_mode/tangents": [
        "Tangents.__init__", "Tangents.of", "Tangents.set", "Tangents._of_argument",
        "Tangents._pytorch_rule", "_signature", "_laid_out_like", "_same_view", "_dual",
        "_tangent_of_dual", "_flat", "_as_tuple",
    ],
    "nets/cnn13": ["_conv_bn_act", "CNN13.no_weight_decay", "CNN13.group_matcher"],
}  # fmt: skip
# ... and those that have less to do there: one process, nets that return a dict, fewer options.
SHORTER = [
    "mixup", "weighted_loss", "sample_losses", "forward", "unrolled", "sweep", "_random_state",
    "_set_random_state", "_refuse_custom_functions", "Tangents.__torch_dispatch__",
    "CNN13.__init__", "CNN13.forward", "CNN13.extract", "cnn13",
]  # fmt: skip


def definitions(file: Path) -> dict[str, str]:
    """Functions, and methods as Class.method, by name: without docstrings and annotations."""
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for function in inner:
            if isinstance(function, ast.FunctionDef):
                found[prefix + function.name] = ast.unparse(Bare().visit(function))
    return found


class Bare(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node):
        node.annotation = None
        return node


def test_definitions_are_the_plug_ins_where_they_are_to_be():
    theirs = definitions(UTILS) | definitions(CNN13)
    root = Path(metasemi_plugin.__file__).parent
    for module, names in EQUAL.items():
        ours = definitions(root / f"{module}.py")
        for name in names:
            assert theirs.pop(name) == ours[name], f"{module}: {name}"
    assert sorted(theirs) == sorted(SHORTER)


def test_rules_are_the_plug_ins():
    from metasemi_plugin.forward_mode.rules import RULES

    theirs = load(UTILS).RULES
    assert {op: RULES[op].__qualname__ for op in theirs} == {
        op: rule.__qualname__ for op, rule in theirs.items()
    }


def test_no_line_names_the_plug_in():
    for name in NAMES:
        for path in [UPSTREAM / f"{name}.patch", *(UPSTREAM / name).rglob("*.*")]:
            found = re.search(r"(?i)metasemi.plugin|plug-?in\b|\bthe host\b", path.read_text())
            assert not found, f"{path}: {found}"
            head = "# Copyright (c) Microsoft Corporation.\n# Licensed under the MIT License.\n\n"
            assert path.suffix != ".py" or path.read_text().startswith(head), path


def test_configs_have_the_papers_options():
    configs = list((FILES / "config/classic_cv/metasemi").glob("*.yaml"))
    assert len(configs) == 12
    for path in configs:
        config = YAML(typ="safe").load(path)
        assert path.stem == "_".join(
            map(str, ("metasemi", config["dataset"], config["num_labels"], 0))
        )
        chosen = {
            "algorithm": "metasemi", "mixup_beta": 0.5, "meta_gradient": "forward", "uratio": 3,
            "multiprocessing_distributed": False, "gpu": 0,
        }  # fmt: skip
        assert config | chosen == config


def test_an_older_torch_gets_the_import_error_that_their_registry_reports(monkeypatch):
    code = (UTILS.parent / "__init__.py").read_text()
    monkeypatch.setattr("torch.__version__", "2.3.1+cu121")
    with pytest.raises(ImportError, match=r"needs Python >= 3\.10 and torch >= 2\.4"):
        exec(code, {})

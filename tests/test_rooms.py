"""Who imports whom: the import graph of the package, imports within functions included."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import metasemi_plugin

ROOT = Path(metasemi_plugin.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
# What an algorithm takes of semilearn: what a plug-in is made of, and the two that ours refine.
PUBLIC = {
    "semilearn.core.AlgorithmBase",
    "semilearn.core.hooks.Hook",
    "semilearn.algorithms.utils.SSL_Argument",
    "semilearn.algorithms.utils.str2bool",
    "semilearn.algorithms.meanteacher.meanteacher.MeanTeacher",
    "semilearn.algorithms.mixmatch.mixmatch.MixMatch",
}
# A room, and the rooms (or files beside them) that nothing in it imports.
BELOW = {
    "forward_mode": {"host", "data", "experiments", "cli", "bench", "algorithms", "run_folder"},
    "config": {"host", "data", "experiments", "cli", "bench", "algorithms", "nets"},
    "run_folder": {"host", "experiments", "cli", "bench", "algorithms", "nets"},
    "distributed": {"host", "data", "experiments", "cli", "bench", "algorithms", "run_folder"},
    "nets": {"host", "data", "experiments", "cli", "bench", "algorithms", "run_folder"},
    "data": {"host", "experiments", "cli", "bench", "algorithms", "nets", "run_folder"},
    "model": {"experiments", "cli", "bench", "algorithms"},
    "algorithms": {"data", "experiments", "cli", "bench", "nets", "run_folder"},
    "host": {"experiments", "cli", "bench"},
    "bench": {"experiments", "cli"},
    "experiments": {"cli", "bench"},
}


def imports(source: str) -> set[str]:
    """What a module imports, as "module.name"; modules of the package as they are called."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                inside = node.module in MODULES and name not in MODULES
                found.add(node.module if inside else name)
    return found


GRAPH = {name: imports(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_an_import_within_a_function_counts():
    assert imports("def f():\n    from semilearn.core import AlgorithmBase") == {
        "semilearn.core.AlgorithmBase"
    }
    assert imports("from metasemi_plugin import mixup, train") == {
        "metasemi_plugin.mixup",
        "metasemi_plugin",
    }


def test_host_alone_knows_semilearn_and_algorithms_its_public_classes():
    of_host = {
        name: {i for i in found if i.split(".")[0] == "semilearn"} for name, found in GRAPH.items()
    }
    assert of_host["metasemi_plugin.host.on_device"]
    others = {name: found for name, found in of_host.items() if found and room(name) != "host"}
    assert {name for name in others if room(name) != "algorithms"} == set()
    assert set().union(*others.values()) <= PUBLIC


def test_there_is_no_circle():
    """But through the package itself, whose functions call everything."""
    inner = {
        name: {i for i in found if i in MODULES and i not in (name, "metasemi_plugin")}
        for name, found in GRAPH.items()
        if name != "metasemi_plugin"
    }
    assert len(list(TopologicalSorter(inner).static_order())) == len(MODULES) - 1  # or CycleError


@pytest.mark.parametrize("name", BELOW)
def test_a_room_knows_none_above_it(name):
    assert name in {room(module) for module in GRAPH}
    above = {
        f"{module} imports {i}"
        for module, found in GRAPH.items()
        if room(module) == name
        for i in found
        if i.startswith("metasemi_plugin") and room(i) in BELOW[name]
    }
    assert above == set()

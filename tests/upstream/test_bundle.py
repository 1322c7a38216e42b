import pytest

from metasemi_plugin.upstream import bundle as bundling
from metasemi_plugin.upstream.bundle import Source, bundle

MODULES = {
    "metasemi_plugin.top": """\
import math
import os

from metasemi_plugin import tools
from metasemi_plugin.sub.low import LIMIT, unused


# Why it is so.
def wanted(x):
    return _helper(x) + math.pi * tools.twice(x)


def not_wanted():
    return os.getcwd(), unused()


def _helper(not_wanted):
    return min(not_wanted, LIMIT)
""",
    "metasemi_plugin.tools": """\
def twice(x):
    \"\"\"As :func:`once`, two times.\"\"\"
    return once(x) + once(x)


def once(x):
    return x
""",
    "metasemi_plugin.sub.low": "LIMIT = 3\n\n\ndef unused():\n    return 0\n",
}


@pytest.fixture
def modules(monkeypatch):
    sources = {name: Source(text) for name, text in MODULES.items()}
    monkeypatch.setattr(bundling, "source", sources.__getitem__)
    return sources


def test_what_is_used_comes_along_and_nothing_else(modules):
    text = bundle(
        {("metasemi_plugin.top", "wanted")}, {"metasemi_plugin.sub.low": "Limits.\n\nOf x."}
    )
    assert (
        text
        == '''\
import math

# Limits.
#
# Of x.

LIMIT = 3

def tools_twice(x):
    """As :func:`tools_once`, two times."""
    return tools_once(x) + tools_once(x)

def tools_once(x):
    return x

# Why it is so.
def wanted(x):
    return _helper(x) + math.pi * tools_twice(x)

def _helper(not_wanted):
    return min(not_wanted, LIMIT)'''
    )
    names = {}
    exec(text, names)
    assert names["wanted"](5) == 3 + 10 * names["math"].pi


def test_one_name_for_two_things_is_refused(modules):
    modules["metasemi_plugin.sub.low"] = Source(
        "LIMIT = 3\n\n\ndef _helper(x):\n    return LIMIT\n"
    )
    roots = {("metasemi_plugin.top", "wanted"), ("metasemi_plugin.sub.low", "_helper")}
    with pytest.raises(ValueError, match="_helper is defined by"):
        bundle(roots, {})

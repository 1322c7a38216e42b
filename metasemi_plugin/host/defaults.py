"""The options of semilearn, as its get_config has them."""

import ast
import contextlib
import functools
import inspect
import os
import random
from collections.abc import Iterator


@functools.cache
def host_defaults(algorithm: str) -> list[tuple[str, object]]:
    """Name and default of each option of a run of ``algorithm``."""
    from semilearn import get_config

    state = random.getstate()
    with _quiet_netstat():
        args = get_config({"algorithm": algorithm})
    random.setstate(state)
    args.dist_url = "tcp://127.0.0.1:11111"
    args.distributed = False
    return [(k, v) for k, v in vars(args).items() if k not in ("c", "base")]


@functools.cache
def declared_types() -> dict[str, type]:
    """Of the host's options, as its get_config declares them, whatever their defaults are."""
    from semilearn import get_config

    kinds = {"int": int, "float": float, "str": str, "str2bool": bool}
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(get_config))):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="add_argument"), args=[*_, ast.Constant(str(name))]
            ):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                found[name.lstrip("-").replace("-", "_")] = kinds[given.get("type", "str2bool")]
    return found


@contextlib.contextmanager
def _quiet_netstat() -> Iterator[None]:
    # The host asks a shell for netstat, which complains where there is none.
    saved = os.dup(2)
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)

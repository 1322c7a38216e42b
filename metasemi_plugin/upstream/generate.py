"""The new files of semilearn: the algorithm, its maths, the backbone."""

import ast
import re
import subprocess
import sys
import textwrap
from functools import cache

from metasemi_plugin.errors import UserError
from metasemi_plugin.upstream.bundle import PACKAGE, RANKS, ROOT, Source, bundle, source
from metasemi_plugin.upstream.specialise import forget_in_docstring, specialise

NAME = "metasemi"
ALGORITHM = "semilearn/algorithms/metasemi"
NET = "semilearn/nets/cnn13"
WIDTH = 120
HEADER = "# Copyright (c) Microsoft Corporation.\n# Licensed under the MIT License.\n"

# Of the algorithm's page: Algorithm 1, without Eq. 14, the ablations and the diagnostics.
FORGET = [
    "consistency",
    "consistency_weight",
    "consistency_ramp",
    "consistency_loss",
    "ramp",
    "sigmoid_ramp",
    "TERMS",
    "Ict",
    "Vat",
    "x_ulb_s",
    "ulb_views",
    "choices",
    "above_zero",
    "not_negative",
    "DiagnosticsHook",
    "set_hooks",
    "assumption1",
    "assumption1_batches",
    "image_grid",
    "targets",
    "idx_ulb",
    *RANKS,
]
FIXED = {"teacher": "ema", "pseudo_label": "soft", "mixup_on": "both", "weights": "binary"}
INLINE = ("mixed", "teacher_logits")
OUTPUTS = ("meta_loss", "meta_gradient", "lb", "ulb")  # keywords of out_dict, for the diagnostics

# Modules whose explanations come along.
EXPLAINED = [
    f"{PACKAGE}.{module}"
    for module in ("mixup", "forward_mode.rules", "forward_mode.tangents", "forward_mode",
                   "meta_gradient")
]  # fmt: skip

# The algorithm's __init__ there, for what this package's own device layer and configuration do.
INIT = """\
        if self.distributed:
            raise NotImplementedError(
                "metasemi trains in one process: set multiprocessing_distributed to False and gpu "
                "to 0"
            )
        if self.use_amp:
            # Else a pass without gradients, or of the teacher, leaves its cast weights to the next.
            self.amp_cm = partial(self.amp_cm, cache_enabled=False)
"""
# semilearn goes on without an algorithm whose import raises ImportError.
GUARD = """\
import sys
import torch

if sys.version_info < (3, 10) or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 4):
    raise ImportError("metasemi needs Python >= 3.10 and torch >= 2.4")
"""
_PUBLIC = 'from .{0} import {1}\n__all__ = ["{1}"]\n'
WORDS = [
    (r"[Tt]he host's builder of the backbone", "network loading function"),
    (r"\b([Tt])he host's", "USB's"),
    (r"\b([Tt])he host\b", "USB"),
    (r":(?:func|class|meth|mod):(`[^`]+`)", r"\1"),
    (r"\bUserError\b", "ValueError"),
]


@cache
def new_files() -> dict[str, str]:
    """Path in their repository -> text.

    Raises:
        UserError: ruff, which formats them, is not installed.
    """
    page, utils = _algorithm()
    texts = {
        f"{ALGORITHM}/__init__.py": GUARD + _PUBLIC.format("metasemi", "MetaSemi"),
        f"{ALGORITHM}/metasemi.py": page,
        f"{ALGORITHM}/utils.py": utils,
        f"{NET}/__init__.py": _PUBLIC.format("cnn13", "cnn13"),
        f"{NET}/cnn13.py": _net(),
    }
    return {path: finished(text) for path, text in texts.items()}


def _algorithm() -> tuple[str, str]:
    """The page of the algorithm, and the maths that it imports."""
    text = (ROOT / "algorithms" / "metasemi.py").read_text(encoding="utf-8")
    text = specialise(text, forget=FORGET, fixed=FIXED, inline=INLINE, keywords=OUTPUTS)
    page = Source(text)
    names = page.reached({"MetaSemi"})
    others, ours = page.imports(names)
    body = page.text(names)
    body = body.replace("class MetaSemi", f'@ALGORITHMS.register("{NAME}")\nclass MetaSemi')
    body = re.sub(r"( +super\(\)\.__init__\(.*\)\n)", rf"\1{INIT}", body, count=1)
    body = re.sub(
        r"(?s)    Args:\n        args: .*?(?=    \"\"\")", _arguments(body), body, count=1
    )
    imports = [
        *others,
        "from functools import partial",
        "from semilearn.core.utils import ALGORITHMS",
        *(f"from .utils import {name}" for _, name in ours),
    ]
    files = {module.rpartition(".")[2] for module in EXPLAINED}
    sections = {module: forget_in_docstring(source(module).doc, files) for module in EXPLAINED}
    return "\n".join([_docstring(page.doc), *imports, "", body]), bundle(ours, sections)


def _arguments(body: str) -> str:
    """The class's arguments as semilearn's docstrings list them: its own, then the algorithm's."""
    entries = [
        ("args", "`argparse`", "algorithm arguments"),
        ("net_builder", "`callable`", "network loading function"),
        ("tb_log", "`TBLog`", "tensorboard logger"),
        ("logger", "`logging.Logger`", "logger to use"),
    ]
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SSL_Argument":
            name, kind, default, what = map(ast.unparse, node.args)
            optional = f"`{kind}`, *optional*, defaults to {default}"
            entries.append((ast.literal_eval(name).lstrip("-"), optional, ast.literal_eval(what)))
    lines = ["    Args:"]
    for name, kind, what in entries:
        lines.append(f"        - {name} ({kind}):")
        lines += textwrap.wrap(what, 100, initial_indent=" " * 12, subsequent_indent=" " * 12)
    return "\n".join(lines) + "\n"


def _net() -> str:
    """CNN-13 with its width only; semilearn loads checkpoints by itself."""
    text = (ROOT / "nets" / "cnn13.py").read_text(encoding="utf-8")
    page = Source(specialise(text, forget=("weight_norm", "dropout")))
    names = page.reached({"cnn13"}) - {"_load"}
    others, _ = page.imports(names)
    body = page.text(names).replace("_load(", "load_checkpoint(")
    # On an older Python semilearn must still import its nets.
    later = "from __future__ import annotations"
    imports = [*others, "from semilearn.nets.utils import load_checkpoint"]
    return "\n".join([_docstring(page.doc), later, *imports, "", body])


def _docstring(text: str) -> str:
    end = "\n" if "\n" in text else ""
    return f'"""{text}{end}"""'


def finished(text: str) -> str:
    """With their header, formatted, unused imports gone."""
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    ruff = [sys.executable, "-m", "ruff"]
    only = ["--isolated", f"--line-length={WIDTH}", "--stdin-filename=x.py", "-"]
    for command in (["check", "--quiet", "--fix-only", "--select=I,F401"], ["format", "--quiet"]):
        done = subprocess.run(
            [*ruff, *command, *only], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UserError(f"export-upstream needs ruff: pip install ruff ({done.stderr.strip()})")
        text = done.stdout
    return f"{HEADER}\n{text}"

"""Definitions of this package's modules, with all that they use, as the text of one module."""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.upstream.specialise import specialise

PACKAGE = "metasemi_plugin"
ROOT = Path(__file__).parents[1]
# What only several processes need, and what cannot do without: there is one process there.
RANKS = ("ranks", "parts", "partners", "ids", "_part_of_mixup", "pseudo_label_accuracy", "Vat")


class Definition(NamedTuple):
    """A statement at the top level of a module, with the comments above it."""

    text: str
    uses: frozenset[str]  # names, and "a.b" where a name's attribute is used


class Source:
    """A module: its definitions by name, in order, and where its other names come from.

    Args:
        text: of the module.
    """

    def __init__(self, text: str):
        tree = ast.parse(text)
        self.doc = ast.get_docstring(tree) or ""
        self.definitions: dict[str, Definition] = {}
        self.ours: dict[str, tuple[str, str]] = {}  # local name -> (module, its name there or "")
        self.others: dict[str, str] = {}  # local name -> import statement
        lines = text.splitlines(keepends=True)
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            else:
                definition = Definition(_text(node, lines), frozenset(_uses(node)))
                self.definitions |= dict.fromkeys(_defines(node), definition)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            local = (alias.asname or alias.name).split(".")[0]
            as_name = f" as {alias.asname}" if alias.asname else ""
            if isinstance(node, ast.Import):
                self.others[local] = f"import {alias.name}{as_name}"
            elif node.module == PACKAGE:
                self.ours[local] = (f"{PACKAGE}.{alias.name}", "")
            elif str(node.module).startswith(f"{PACKAGE}."):
                self.ours[local] = (str(node.module), alias.name)
            else:
                self.others[local] = f"from {node.module} import {alias.name}{as_name}"

    def reached(self, roots: Set[str]) -> set[str]:
        """Names defined here that the definitions of ``roots`` use, and ``roots``."""
        found: set[str] = set()
        todo = set(roots)
        while todo:
            name = todo.pop()
            found.add(name)
            todo |= (self.definitions[name].uses & self.definitions.keys()) - found
        return found

    def text(self, names: Set[str]) -> str:
        """The definitions of ``names`` in the order of the module."""
        kept = dict.fromkeys(d.text for name, d in self.definitions.items() if name in names)
        return "\n\n".join(kept)

    def imports(self, names: Set[str]) -> tuple[set[str], set[tuple[str, str]]]:
        """What the definitions of ``names`` import.

        Returns:
            Import statements, and (module, name) of what comes from this package.
        """
        uses = set().union(*(self.definitions[name].uses for name in names))
        others = {statement for local, statement in self.others.items() if local in uses}
        ours = {(module, name) for local, (module, name) in self.ours.items()
                if name and local in uses}  # fmt: skip
        for use in uses:
            head, _, attribute = use.partition(".")
            module, name = self.ours.get(head, ("", ""))
            if attribute and module and not name:
                ours.add((module, attribute))
        return others, ours


@cache
def source(module: str) -> Source:
    """The module of this package with that full name, for one process."""
    path = ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = file.read_text(encoding="utf-8")
    return Source(specialise(text, forget=RANKS) if " ranks\n" in text else text)


def bundle(roots: Set[tuple[str, str]], sections: Mapping[str, str]) -> str:
    """One module's text with the definitions ``roots`` and all of this package that they use.

    Args:
        roots: (module, name) of each.
        sections: module -> the comment to set above what comes from it.

    Raises:
        ValueError: two modules give different things one name.
    """
    needed: dict[str, set[str]] = {}
    others: set[str] = set()
    todo = set(roots)
    while todo:
        module, name = todo.pop()
        if name in needed.setdefault(module, set()):
            continue
        new = source(module).reached({name}) - needed[module]
        needed[module] |= new
        statements, ours = source(module).imports(new)
        others |= statements
        todo |= ours

    # A module that is imported as such: its names become module_name.
    prefixed = {m for used in map(source, needed) for m, name in used.ours.values() if not name}
    parts = sorted(others)
    owner: dict[str, str] = {}
    for module in _in_order(set(needed)):
        text = source(module).text(needed[module])
        if module in prefixed:
            text = _prefixed(module, needed[module], text)
        elif taken := [name for name in needed[module] if name in owner]:
            raise ValueError(f"{taken[0]} is defined by {owner[taken[0]]} and by {module}")
        owner |= dict.fromkeys(needed[module], module)
        parts += [comment(sections[module]), text] if module in sections else [text]
    whole = "\n\n".join(parts)
    for module in prefixed & needed.keys():
        prefix = module.rpartition(".")[2]
        whole = re.sub(rf"(?<![\w.]){prefix}\.(?=\w)", f"{prefix}_", whole)
    return whole


def _prefixed(module: str, names: Set[str], text: str) -> str:
    """Its definitions and calls of ``names``, and references to them, with the module before."""
    prefix, words = module.rpartition(".")[2], "|".join(names)
    return re.sub(rf"(?<![\w.])({words})(?=[(`])", rf"{prefix}_\1", text)


def comment(text: str) -> str:
    """Text as a block of comment."""
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())


def _in_order(modules: set[str]) -> Iterator[str]:
    """Each module after those it imports."""
    seen: set[str] = set()

    def visit(module: str) -> Iterator[str]:
        if module not in seen:
            seen.add(module)
            for imported, _ in source(module).ours.values():
                yield from visit(imported)
            if module in modules:
                yield module

    for module in sorted(modules):
        yield from visit(module)


def _text(node: ast.stmt, lines: list[str]) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "".join(lines[first : node.end_lineno]).rstrip()


def _uses(node: ast.stmt) -> Iterator[str]:
    parameters = {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id not in parameters:
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            yield f"{inner.value.id}.{inner.attr}"


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    return [target.id for target in targets if isinstance(target, ast.Name)]

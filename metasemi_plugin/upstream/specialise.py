"""A module with some of its options left out: partial evaluation of its source, comments kept.

What mentions a forgotten name goes: a statement that assigns or calls it, an argument, a parameter,
an element, a summand, a docstring's entry or clause. Where an option has one value for good, what
depends on it is decided: comparisons, the branches behind them, look-ups in a table.
"""

import re
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

import libcst as cst
from libcst import matchers as m

_IMPORT = m.SimpleStatementLine([m.Import() | m.ImportFrom()])
_ALIAS = m.Assign([m.AssignTarget(m.Name())], m.Name())
_PARTS = (cst.Arg, cst.Param, cst.Element, cst.StarredElement, cst.DictElement,
          cst.StarredDictElement)  # fmt: skip


def specialise(
    text: str,
    *,
    forget: Collection[str],
    fixed: Mapping[str, object] = {},
    inline: Collection[str] = (),
    keywords: Collection[str] = (),
) -> str:
    """The module without some of its options.

    Args:
        text: of the module.
        forget: names whose every mention goes.
        fixed: attribute of self -> its value for good; it is forgotten afterwards.
        inline: methods that, with that, come to one expression each, to be put where it is used.
        keywords: arguments that go by their keyword.

    Raises:
        ValueError: something forgotten is still mentioned, which these rules can't take out.
    """
    module = cst.parse_module(text)
    pruned = module.visit(_Prune(module, set(forget), fixed, keywords))
    joined = pruned.visit(_Inline(pruned, set(inline)))
    # Imports are left to those who look at what is used.
    kept = [node for node in joined.body if not m.matches(node, _IMPORT)]
    left = set().union(*(_mentions(node, set(forget), set(fixed)) for node in kept))
    left |= {name for name in {*forget, *fixed} if f"``{name}``" in joined.code}
    if left:
        raise ValueError(f"cannot leave out {', '.join(sorted(left))}")
    # What a last parameter leaves behind would make a formatter break the line.
    return joined.code.replace(", )", ")")


class _Prune(cst.CSTTransformer):
    def __init__(
        self,
        module: cst.Module,
        forget: set[str],
        fixed: Mapping[str, object],
        keywords: Collection[str],
    ):
        self.module, self.forget, self.fixed, self.keywords = module, forget, fixed, keywords
        self.doomed: set[cst.CSTNode] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        """What goes, goes whole: nothing inside it is looked at."""
        if self._goes(node):
            self.doomed.add(node)
            return False
        return True

    def on_leave(self, original_node, updated_node):
        if original_node in self.doomed:
            return cst.RemoveFromParent()
        return super().on_leave(original_node, updated_node)

    def _goes(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.SimpleStatementLine):
            return any(self._statement_goes(statement) for statement in node.body)
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            return node.name.value in self.forget
        if isinstance(node, cst.If):
            return bool(_mentions(node.test, self.forget, set()))
        if isinstance(node, cst.Arg) and node.keyword and node.keyword.value in self.keywords:
            return True
        return isinstance(node, _PARTS) and bool(
            _mentions(node, self.forget, set()) or self._declares(node)
        )

    def _statement_goes(self, node: cst.CSTNode) -> bool:
        if isinstance(node, (cst.Assign, cst.AnnAssign)):
            targets = node.targets if isinstance(node, cst.Assign) else [node]
            return any(_mentions(t.target, self.forget, set(self.fixed)) for t in targets)
        call = node.value if isinstance(node, cst.Expr) else None
        return isinstance(call, cst.Call) and bool(_mentions(call.func, self.forget, set()))

    def _declares(self, node: cst.CSTNode) -> bool:
        """Whether it declares an option that is forgotten or fixed."""
        options = {f"--{name}" for name in {*self.forget, *self.fixed}}
        return any(s.evaluated_value in options for s in _all(node, m.SimpleString()))

    def _fixed(self, node: Any) -> bool:
        return m.matches(node, m.Attribute(m.Name("self"))) and node.attr.value in self.fixed

    def leave_BinaryOperation(self, original_node, updated_node):
        if m.matches(original_node.operator, m.Add()) and _mentions(
            original_node.right, self.forget, set()
        ):
            return updated_node.left
        return updated_node

    def leave_Comparison(self, original_node, updated_node):
        if not self._fixed(original_node.left):
            return updated_node
        value = self.fixed[original_node.left.attr.value]
        (target,) = original_node.comparisons
        others = target.comparator
        others = [e.value for e in others.elements] if isinstance(others, cst.Tuple) else [others]
        known = [e.evaluated_value for e in others if isinstance(e, cst.SimpleString)]
        if value not in known and len(known) < len(others):
            return updated_node
        return cst.Name(str(value in known))

    def leave_If(self, original_node, updated_node):
        if m.matches(updated_node.test, m.Name("True")):
            return cst.FlattenSentinel(updated_node.body.body)
        if m.matches(updated_node.test, m.Name("False")):
            rest = updated_node.orelse
            if isinstance(rest, cst.Else):
                return cst.FlattenSentinel(rest.body.body)
            return rest or cst.RemoveFromParent()  # an elif becomes the if
        return updated_node

    def leave_IfExp(self, original_node, updated_node):
        if m.matches(updated_node.test, m.Name("True")):
            return updated_node.body
        if m.matches(updated_node.test, m.Name("False")):
            return updated_node.orelse
        return updated_node

    def leave_Subscript(self, original_node, updated_node):
        """TABLE[self.option]: the entry of the table, a dict at the module's top level."""
        index = original_node.slice[0].slice
        if not (isinstance(index, cst.Index) and self._fixed(index.value)):
            return updated_node
        name, key = original_node.value.value, self.fixed[index.value.attr.value]
        for assign in _all(self.module, m.Assign([m.AssignTarget(m.Name(name))], m.Dict())):
            for entry in assign.value.elements:
                if isinstance(entry, cst.DictElement) and entry.key.evaluated_value == key:
                    return entry.value
        return updated_node

    def leave_FunctionDef(self, original_node, updated_node):
        body = list(updated_node.body.body)
        for i, statement in enumerate(body):
            if m.matches(statement, m.SimpleStatementLine([m.Return()])):
                body = body[: i + 1]
                break
        return updated_node.with_deep_changes(updated_node.body, body=body)

    def leave_SimpleString(self, original_node, updated_node):
        if not original_node.value.startswith('"""'):
            return updated_node
        text = forget_in_docstring(original_node.raw_value, {*self.forget, *self.fixed})
        return updated_node.with_changes(value=f'"""{text}"""')


class _Inline(cst.CSTTransformer):
    """Calls of one-line methods, and names that have come to stand for another name."""

    def __init__(self, module: cst.Module, methods: set[str]):
        found = _all(module, m.FunctionDef())
        self.methods = {f.name.value: f for f in found if f.name.value in methods}
        self.names = {node.value.value: node.targets[0].target for node in _all(module, _ALIAS)}

    def leave_SimpleStatementLine(self, original_node, updated_node):
        alias = m.matches(original_node, m.SimpleStatementLine([_ALIAS]))
        return cst.RemoveFromParent() if alias else updated_node

    def leave_Name(self, original_node, updated_node):
        return self.names.get(updated_node.value, updated_node)

    def leave_FunctionDef(self, original_node, updated_node):
        return cst.RemoveFromParent() if updated_node.name.value in self.methods else updated_node

    def leave_Call(self, original_node, updated_node):
        if not m.matches(original_node.func, m.Attribute(m.Name("self"))):
            return updated_node
        method = self.methods.get(original_node.func.attr.value)
        if method is None:
            return updated_node
        params = [p.name.value for p in method.params.params[1:]]
        values = dict(zip(params, (arg.value for arg in updated_node.args), strict=True))
        (result,) = _all(method, m.Return())
        return result.value.visit(_Substitute(values))


class _Substitute(cst.CSTTransformer):
    def __init__(self, values: Mapping[str, cst.BaseExpression]):
        self.values = values

    def leave_Name(self, original_node, updated_node):
        return self.values.get(updated_node.value, updated_node)


def _all(node: cst.CSTNode, what: Any) -> list[Any]:
    """What matches in it, itself included."""
    return list(m.findall(node, what))


def _mentions(node: cst.CSTNode, names: set[str], attributes: set[str]) -> set[str]:
    """Which of ``names`` are names in it, and which of ``attributes`` are attributes of self."""
    found = {name.value for name in _all(node, m.Name())} & names
    of_self = _all(node, m.Attribute(m.Name("self")))
    return found | ({a.attr.value for a in of_self} & attributes)


def forget_in_docstring(text: str, names: set[str]) -> str:
    """Without the entries ``name: ...``, and without the sentences and clauses with ``name``."""
    if not names:
        return text
    marked = "|".join(rf"``{name}``|`{name}`" for name in sorted(names))
    blocks: list[list[str]] = []
    alone = True  # an empty line, or a heading as "Args:"
    for line in text.splitlines():
        was_alone, alone = alone, not line.strip() or bool(re.match(r"\s*[A-Z]\w+:$", line))
        if alone or was_alone or re.match(r"\s*(\w+(, \w+)*|\*\*\w+): ", line):
            blocks.append([line])
        else:
            blocks[-1].append(line)
    out: list[str] = []
    for block in blocks:
        entry = re.match(r"\s*(\w+): ", block[0])
        if entry and entry[1] in names:
            continue
        joined = " ".join(line.strip() for line in block)
        if not re.search(marked, joined):
            out += block
            continue
        clauses = re.split(r"(?<=[;.])(?<!Eq\.)(?<!Eqs\.)(?<!Sec\.)(?<!al\.)\s+", joined)
        kept = " ".join(clause for clause in clauses if not re.search(marked, clause))
        kept = re.sub(r";$", ".", kept)
        start, rest = (line[: len(line) - len(line.lstrip())] for line in (block[0], block[-1]))
        if kept:
            out += textwrap.wrap(kept, 100, initial_indent=start, subsequent_indent=rest,
                                 break_on_hyphens=False)  # fmt: skip
    return re.sub(r"\n\n\n+", "\n\n", "\n".join(out))

"""table.md: the tables of a report for GitHub and terminals."""

import re
from collections.abc import Sequence

from metasemi_plugin.experiments.report.tables import Cell, Table
from metasemi_plugin.markdown_table import markdown_table


def markdown(
    title: str, summary: str, rule: str, tables: Sequence[Table], rest: Sequence[str]
) -> str:
    """The page: a section a table, then the rule; ``rest`` are paragraphs below, in Markdown."""
    parts = [f"# {escape(title)}", escape(summary)]
    for table in tables:
        parts += [f"## {escape(table.title)}", _table(table)]
        if table.unfinished:
            parts.append("Not complete, and in no mean:\n\n" + _list(table.unfinished))
        if table.notes:
            parts.append(_list(table.notes))
    return "\n\n".join([*parts, escape(rule), *rest]) + "\n"


def escape(text: str) -> str:
    """``text`` to be read as it is."""
    return re.sub(r"([\\`*<>|\[\]])", r"\\\1", " ".join(text.split()))


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _table(table: Table) -> str:
    head = [escape(name) for name in table.head]
    body = [[_cell(cell) for cell in row] for row in table.rows]
    return markdown_table(head, body, table.numeric)


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"**{text}**" if cell.bold else text

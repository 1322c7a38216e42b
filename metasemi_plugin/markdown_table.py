"""Tables for terminals and Markdown pages."""

import re
from collections.abc import Container, Sequence


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Container[int] | None = None
) -> str:
    """Lines of cells between bars.

    Args:
        head: names of the columns.
        rows: cells; a bar in one that is not escaped becomes a slash.
        numeric: places of the columns that are flush right; None: all but the first.
    """
    if numeric is None:
        numeric = range(1, len(head))
    ruler = ["---:" if place in numeric else "---" for place in range(len(head))]
    return "\n".join(
        "| " + " | ".join(re.sub(r"(?<!\\)\|", "/", cell) for cell in line) + " |"
        for line in (head, ruler, *rows)
    )

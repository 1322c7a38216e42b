"""Tables for terminals and Markdown pages."""

from collections.abc import Sequence


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1
) -> str:
    """Lines of cells between bars; columns are flush right from place ``numbers_from`` on."""
    ruler = ["---"] * numbers_from + ["---:"] * (len(head) - numbers_from)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |"
        for line in (head, ruler, *rows)
    )

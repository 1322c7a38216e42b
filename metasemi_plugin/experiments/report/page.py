"""report.html: one page that needs nothing beside it."""

import base64
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from metasemi_plugin.experiments.report.drawing import Picture
from metasemi_plugin.experiments.report.tables import Table


def page(
    title: str,
    summary: str,
    rule: str,
    results: Sequence[Table],
    pictures: Sequence[Picture],
    settings: Sequence[Table],
    runs: Sequence[Table],
    commands: Sequence[str],
) -> str:
    """The page as HTML; all names are escaped.

    Args:
        title: of the suite.
        summary: how much is complete, and what the best is chosen on.
        rule: how the tables are to be read.
        results: tables of errors.
        pictures: see `pictures.pictures`.
        settings: in which options the rows differ.
        runs: every run, and what they were made with.
        commands: what makes it all again.
    """
    environment = Environment(
        loader=PackageLoader("metasemi_plugin.experiments.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html.j2").render(
        title=title,
        summary=summary,
        rule=rule,
        results=results,
        pictures=pictures,
        settings=settings,
        runs=runs,
        commands=commands,
    )


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")

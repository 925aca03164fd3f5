"""The HTML report: one file, nothing fetched, readable in light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.style import GRID, INK, INSTALL, MUTED, PAPER
from beyond_serve.bench.runs.tables import Table, cell, is_number
from beyond_serve.errors import ConfigError

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
_UNNEEDED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
_IDS = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as an SVG document."""

    name: str
    title: str
    caption: str
    svg: str


def page(
    run: RunFolder,
    help_line: str,
    figures: Sequence[Drawn],
    tables: Sequence[Table],
    verdicts: Sequence[Verdict],
    published: Table | None,
    mark: str,
) -> str:
    """The page's text. Everything but the figures, which are drawn here, is escaped.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise ConfigError("the HTML report needs jinja2, which is not installed", INSTALL) from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(cell=cell, is_number=is_number)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    shown = [(figure, Markup(inline_svg(figure.svg, figure.name))) for figure in figures]  # noqa: S704
    return template.render(
        run=run,
        meta=run.meta,
        help=help_line,
        figures=shown,
        tables=tables,
        verdicts=verdicts,
        published=published,
        mark=mark,
    )


def inline_svg(document: str, name: str) -> str:
    """An SVG document as an element of a page: ids that no other figure has, colours of the page's theme."""
    svg = _UNNEEDED.sub("", document).strip()
    svg = _IDS.sub(lambda found: f"{found.group(1)}{name}-", svg)
    for colour, variable in _THEMED.items():
        svg = svg.replace(colour, variable)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', r'<svg \1width="100%"', svg, count=1).replace(
        ' height="', ' data-height="', 1
    )

"""From a run's points to what people look at: PNG and SVG files, and one HTML page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.html import Drawn, page
from beyond_serve.bench.runs.style import house_style, stamp
from beyond_serve.bench.runs.tables import Table

# Twice matplotlib's own, so that text is sharp on the screens people have.
_PNG_DPI = 200


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report shows beside the run's own description.

    Attributes:
        help: the experiment's one line.
        published: the papers' figures beside ours.
    """

    help: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    verdicts: Sequence[Verdict] = ()
    published: Table | None = None


def render(run: RunFolder, content: Content) -> Path:
    """Write plots/*.png, plots/*.svg and report.html of `run`; the path of the page.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed, or the folder takes no more.
    """
    footer, mark = footer_line(run), simulated_mark(run)
    drawn = []
    with house_style():
        for figure in content.figures:
            stamp(figure.drawing, figure.title, footer, mark)
            svg = _saved(figure, "svg", metadata={"Date": None, "Title": figure.title})
            run.write(f"plots/{figure.name}.svg", svg)
            run.write(f"plots/{figure.name}.png", _saved(figure, "png", dpi=_PNG_DPI))
            drawn.append(Drawn(figure.name, figure.title, figure.caption, svg.decode()))
    html = page(run, content.help, drawn, content.tables, content.verdicts, content.published, mark)
    return run.write("report.html", html.encode())


def simulated_mark(run: RunFolder) -> str:
    """What is written across figures: "" if all was measured on what it names."""
    flags = [_is_simulated(point) for point in run.points]
    if not any(flags):
        return ""
    return "simulated" if all(flags) else "partly simulated"


def footer_line(run: RunFolder) -> str:
    """Machine, version, experiment and time, so that a plot passed on alone still says what it shows."""
    machine = run.meta.machine
    when = run.meta.started.replace("T", " ")[:16]
    parts = [
        str(machine.get("cpu", "")),
        f"{machine.get('cores', '?')} cores",
        str(machine.get("gpu", "")),
        f"{machine.get('memory_gib', '?')} GiB",
        f"beyond-serve {run.meta.versions.get('beyond-serve', '?')}",
        f"{run.meta.experiment}, {when} UTC",
        "" if run.meta.status in ("complete", "running") else run.meta.status,
    ]
    return " · ".join(part for part in parts if part)


def _is_simulated(point: Mapping[str, Any]) -> bool:
    load = point.get("load")
    return bool(point.get("simulated")) or (isinstance(load, dict) and bool(load.get("simulated")))


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.drawing.savefig(buffer, format=kind, **options)
    return buffer.getvalue()

"""A drawn figure with its name: what an experiment's `plots` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot of a run, drawn from its points alone.

    Attributes:
        name: of the files, `plots/NAME.png` and `.svg`; letters, digits and hyphens.
        title: what the figure shows, as a sentence if it can be one.
        drawing: made by `style.new_figure`, never through pyplot, which keeps every figure alive.
        caption: what a reader must know; below the figure in the report.
    """

    name: str
    title: str
    drawing: Drawing
    caption: str = ""

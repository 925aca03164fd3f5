"""Tables as data: the terminal and the HTML report draw the same one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"[-+]?(\d[\d,]*(\.\d+)?(e[-+]?\d+)?|∞)( ?%|x)?( +\d+ %)?")
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a run.

    Attributes:
        columns: headings, with the unit where there is one ("p99 ms").
        rows: cells of any type; `cell` says how each is written.
        notes: what a reader must know to read the table rightly.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()


def cell(value: object) -> str:
    """A value as people read it: three significant digits, thousands set apart, nothing as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Three significant digits; whole from 100 upwards, so that no digit left of the point is lost."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if value != 0 and abs(value) < 0.001:
        return f"{value:.2e}"
    return f"{value:.3g}" if value == 0 or abs(value) < 1 else f"{value:.{1 if abs(value) >= 9.995 else 2}f}"


def is_number(text: str) -> bool:
    """Whether a written cell is a number, so that it is set to the right."""
    return text == NOTHING or _NUMBER.fullmatch(text) is not None

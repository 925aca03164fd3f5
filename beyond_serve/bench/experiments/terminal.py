"""Tables and verdicts at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.compare import Comparison
from beyond_serve.bench.runs.tables import Table, cell, is_number

LEAST_FILE_WIDTH: Final = 120
"""Columns of what is written into a file or a pipe, for which rich would take a terminal's 80."""


def open_console() -> Console:
    """Standard output, as wide as the terminal, or wide enough for tables where it is none."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, LEAST_FILE_WIDTH)
    return console


def show_tables(console: Console, tables: Sequence[Table]) -> None:
    """Nothing is cut off: words that are too long for a terminal are folded, a file's lines grow longer."""
    for table in tables:
        console.print(_drawn(table, whole_words=not console.is_terminal), crop=console.is_terminal)
        for note in table.notes:
            console.print(f"  {note}", style="dim", markup=False, highlight=False)


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        mark = "[green]met[/]" if verdict.met else "[red]not met[/]"
        said = escape(f"{verdict.what}: asked {verdict.asked}, measured {verdict.measured}")
        console.print(f"  {mark}  {said}", highlight=False)


def _drawn(table: Table, whole_words: bool) -> RichTable:
    rows = [[cell(value) for value in row] for row in table.rows]
    drawn = RichTable(title=escape(table.title), title_justify="left")
    for index, column in enumerate(table.columns):
        numeric = index > 0 and all(is_number(row[index]) for row in rows)
        words = " ".join([column, *(row[index] for row in rows)]).split() if whole_words else []
        drawn.add_column(
            escape(column),
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=max(map(cell_len, words), default=None),
        )
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn


def show_comparison(console: Console, found: Comparison) -> None:
    for name, path in zip("AB", found.names, strict=True):
        console.print(f"{name}  {path}", markup=False, highlight=False, soft_wrap=True)
    for difference in found.differences:
        console.print(f"differs: {difference}", markup=False, highlight=False, soft_wrap=True)
    if found.lines:
        show_tables(console, [comparison_table(found)])
    for note in found.notes:
        console.print(f"  {note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(found.verdict, style="bold", markup=False, highlight=False, soft_wrap=True)


def comparison_table(found: Comparison) -> Table:
    """Ratios with their intervals, one line per field and measurement."""
    rows = []
    for line in found.lines:
        several = line.over_all and not line.labels
        labels = "all (geometric mean)" if several else ", ".join(f"{k} {v}" for k, v in line.labels)
        low, high = line.ratio.low, line.ratio.high
        interval = None if low is None or high is None else f"{low:.3f} … {high:.3f}"
        times = f"{line.repetitions[0]}, {line.repetitions[1]}"
        field = line.field.removeprefix("load.")
        rows.append((labels, field, line.a, line.b, f"{line.ratio.value:.3f}", interval, times, line.verdict))
    columns = ("measurement", "field", "A", "B", "B/A", "95 % interval", "repetitions", "verdict")
    shown = sum(line.ratio.low is not None for line in found.lines)
    chance = f"{shown} intervals of 95 %: about {shown * 0.05:.1f} of them leave out 1 by chance alone"
    return Table("B beside A", columns, rows, [chance] if shown else [])

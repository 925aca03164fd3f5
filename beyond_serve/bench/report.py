"""Results as a table one can read and a JSON file one can keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from beyond_serve.bench.machine import machine


@dataclass(frozen=True, slots=True)
class Verdict:
    """One asked figure beside the measured one."""

    what: str
    asked: str
    measured: str
    met: bool


@dataclass(slots=True)
class Result:
    """What an experiment found.

    Attributes:
        columns, rows: the table.
        notes: what a reader must know: set-up, what was pinned, what could not be measured.
    """

    experiment: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        table = Table(title=self.experiment, title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*(_cell(value) for value in row))
        console.print(table)
        for verdict in self.verdicts:
            mark = "[green]met[/]" if verdict.met else "[red]not met[/]"
            console.print(f"  {mark}  {verdict.what}: asked {verdict.asked}, measured {verdict.measured}")
        for note in self.notes:
            console.print(f"  {note}", style="dim")

    def save(self, folder: Path) -> Path:
        """Write `folder`/EXPERIMENT.json with the machine and the command."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.experiment}.json"
        content = {**asdict(self), "machine": machine()}
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
        return path


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

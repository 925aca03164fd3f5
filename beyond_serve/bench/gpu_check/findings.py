"""What a part found, as lines of JSON: a part that is ended leaves what it had found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from beyond_serve.bench.gpu_check.figures import Check
from beyond_serve.bench.runs.tables import Table


@dataclass(frozen=True, slots=True)
class Skip:
    """What was not done, and why."""

    what: str
    why: str


@dataclass(slots=True)
class Findings:
    """
    Attributes:
        facts: by name; any JSON.
        skipped: why the whole part could not be done; empty if it could.
        failure: the exception that ended it, in a line; empty if none did.
        complete: it came to its end.
    """

    checks: list[Check] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""
    failure: str = ""
    complete: bool = False


class Recorder:
    """Writes a part's findings as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, check: Check) -> None:
        self._write("check", asdict(check))

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        notes: Sequence[str] = (),
    ) -> None:
        """A table with at least one row; with none there is nothing to show."""
        if rows:
            self._write("table", asdict(Table(title, columns, rows, notes)))

    def skip(self, what: str, why: str) -> None:
        self._write("skip", asdict(Skip(what, why)))

    def note(self, text: str) -> None:
        self._write("note", text)

    def facts(self, facts: Mapping[str, object]) -> None:
        self._write("facts", dict(facts))

    def skipped(self, why: str) -> None:
        self._write("skipped", why)

    def failed(self, why: str) -> None:
        self._write("failed", why)

    def complete(self) -> None:
        self._write("complete", True)

    def _write(self, kind: str, value: object) -> None:
        line = json.dumps([kind, value], default=_plain)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_findings(path: Path) -> Findings:
    """What `Recorder` wrote there; nothing if it wrote nothing. Half a last line is left out."""
    found = Findings()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return found
    for line in lines:
        kind, value = json.loads(line)
        _take(found, kind, value)
    return found


def _take(found: Findings, kind: str, value: Any) -> None:
    match kind:
        case "check":
            found.checks.append(Check(**value))
        case "table":
            found.tables.append(Table(**value))
        case "skip":
            found.skips.append(Skip(**value))
        case "note":
            found.notes.append(value)
        case "facts":
            found.facts.update(value)
        case "skipped":
            found.skipped = value
        case "failed":
            found.failure = value
        case "complete":
            found.complete = True


def _plain(value: object) -> object:
    """NumPy's scalars and arrays, and paths."""
    return value.tolist() if hasattr(value, "tolist") else str(value)

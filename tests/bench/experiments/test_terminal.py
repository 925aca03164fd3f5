"""Tables keep their content, whatever they are printed on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from beyond_serve.bench.experiments.terminal import open_console, show_tables
from beyond_serve.bench.runs.tables import Table

COLUMNS = ("measurement", "concurrency", "throughput", "policy", "images/s", "p50 ms", "p99 ms", "occupancy")
ROW = ("mobilenet-v2, medium", 64, 12345.0, "fixed, 2,000 us", 431.0, 12.5, 99.9, "a sentence of some words")
TABLE = Table("What was measured", (*COLUMNS, *COLUMNS), [(*ROW, *ROW)])


def printed(console: Console) -> str:
    show_tables(console, [TABLE])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_files_tables_keep_every_word_whole(width: int) -> None:
    shown = printed(Console(file=io.StringIO(), width=width))
    words = [
        word for cell in (*COLUMNS, "mobilenet-v2,", "fixed,", "12,345", "sentence") for word in cell.split()
    ]
    for word in words:
        assert shown.count(word) >= 2, word
    assert "…" not in shown


def test_a_narrow_terminals_tables_are_folded_and_not_cut() -> None:
    shown = printed(Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None))
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_what_is_no_terminal_has_at_least_120_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, expected in (("80", 120), ("200", 200)):
        monkeypatch.setenv("COLUMNS", columns)
        console = open_console()
        assert not console.is_terminal
        assert console.width == expected

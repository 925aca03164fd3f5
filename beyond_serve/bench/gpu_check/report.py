"""The report folder: report.json for programs, report.md for people. Rendering is pure."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from beyond_serve.bench.gpu_check.findings import Skip
from beyond_serve.bench.gpu_check.plan import Outcome
from beyond_serve.bench.machine import machine
from beyond_serve.bench.own_version import own_version
from beyond_serve.bench.runs.tables import Table, cell
from beyond_serve.errors import ConfigError

COMMAND = "scripts/gpu-check"


def slug(device: str) -> str:
    """ "NVIDIA H200" is nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "gpu"


def about(device: str, arguments: Sequence[str]) -> dict[str, object]:
    """On what and how it was measured; the parts' own facts say more."""
    return {
        **machine(),
        "gpu": device,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "command": shlex.join([COMMAND, *arguments]),
        "beyond-serve": own_version(),
    }


def as_json(outcomes: Sequence[Outcome], about: Mapping[str, object], status: str) -> str:
    """
    Args:
        status: "running", "complete" or "interrupted".
    """
    parts = []
    for outcome in outcomes:
        found = outcome.findings
        parts.append(
            {
                "part": outcome.part.name,
                "title": outcome.part.title,
                "status": outcome.status,
                "why": outcome.why,
                "seconds": round(outcome.seconds, 2),
                "limit_s": outcome.part.limit_s,
                "tables": [asdict(table) for table in found.tables],
                "skips": [asdict(skip) for skip in found.skips],
                "notes": found.notes,
                "facts": found.facts,
                "said": outcome.said,
            }
        )
    verdicts = [
        {"part": outcome.part.name, **asdict(check)}
        for outcome in outcomes
        for check in outcome.findings.checks
    ]
    content = {
        "experiment": "gpu-check",
        "status": status,
        "machine": dict(about),
        "verdicts": verdicts,
        "parts": parts,
    }
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(outcomes: Sequence[Outcome], about: Mapping[str, object], status: str) -> str:
    lines = [
        f"# gpu-check on {about['gpu']}",
        "",
        f"`{about['command']}`, {about['time']}, {status}. {about['cpu']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB, {about['system']}, Python {about['python']}, "
        f"beyond-serve {about['beyond-serve']}.",
        "",
    ]
    sections = [("Parts", parts_table(outcomes)), ("Asked and measured", checks_table(outcomes))]
    skips = skips_table(outcomes)
    if skips.rows:
        sections.append(("Skipped", skips))
    for title, table in sections:
        lines += [f"## {title}", "", *_markdown(table), ""]
    for outcome in outcomes:
        lines += _section(outcome)
    return "\n".join(lines).rstrip() + "\n"


def parts_table(outcomes: Sequence[Outcome]) -> Table:
    rows = [(o.part.name, o.status, f"{o.seconds:.1f}", o.why or o.part.title) for o in outcomes]
    return Table("Parts", ("part", "status", "seconds", ""), rows)


def checks_table(outcomes: Sequence[Outcome]) -> Table:
    rows = [
        (outcome.part.name, check.what, check.asked, check.measured, "met" if check.met else "NOT MET")
        for outcome in outcomes
        for check in outcome.findings.checks
    ]
    return Table("Asked and measured", ("part", "what", "asked", "measured", "verdict"), rows)


def skips_table(outcomes: Sequence[Outcome]) -> Table:
    rows: list[tuple[str, str, str]] = []
    for outcome in outcomes:
        own = [Skip(outcome.part.title, outcome.why)] if outcome.status == "skipped" else []
        rows += [(outcome.part.name, skip.what, skip.why) for skip in (*own, *outcome.findings.skips)]
    return Table("Skipped", ("part", "what", "why"), rows)


def write_report(folder: Path, outcomes: Sequence[Outcome], about: Mapping[str, object], status: str) -> None:
    """Both files, each whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, render in (("report.json", as_json), ("report.md", as_markdown)):
            beside = folder / f".{name}.part"
            beside.write_text(render(outcomes, about, status), encoding="utf-8")
            os.replace(beside, folder / name)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}", "give another folder with --output"
        ) from error


def text(table: Table) -> list[str]:
    """The table for a terminal: columns set apart by two blanks."""
    rows = [tuple(table.columns), *(tuple(map(cell, row)) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    return [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _plain(value: object) -> object:
    """What is no number becomes null, as JSON has no other word for it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _section(outcome: Outcome) -> list[str]:
    found = outcome.findings
    if not (found.tables or found.notes or found.facts or outcome.said):
        return []
    lines = [f"## {outcome.part.title}", ""]
    for table in found.tables:
        lines += [f"### {table.title}", "", *_markdown(table), ""]
        lines += [f"{note}  " for note in table.notes] + ([""] if table.notes else [])
    lines += [*(f"* {note}" for note in found.notes), *([""] if found.notes else [])]
    if found.facts:
        facts = [(name, json.dumps(value, ensure_ascii=False)) for name, value in found.facts.items()]
        lines += [*_markdown(Table("", ("fact", "value"), facts)), ""]
    if outcome.said:
        lines += ["The last that it wrote:", "", *(f"    {line}" for line in outcome.said.splitlines()), ""]
    return lines


def _markdown(table: Table) -> list[str]:
    if not table.rows:
        return ["None."]
    rows = [tuple(map(cell, row)) for row in table.rows]
    return [
        _row(tuple(table.columns)),
        _row(("---",) * len(table.columns)),
        *(_row(tuple(value.replace("|", "\\|").replace("\n", " ") for value in row)) for row in rows),
    ]


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"

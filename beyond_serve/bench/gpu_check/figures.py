"""Asked figures beside measured ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.bench.runs.tables import number


@dataclass(frozen=True, slots=True)
class Check:
    """One asked figure beside the measured one; the fields of `bench.report.Verdict`."""

    what: str
    asked: str
    measured: str
    met: bool


def at_least(what: str, asked: float, measured: float, unit: str = "") -> Check:
    """Not met by NaN."""
    return Check(what, f">= {_with(asked, unit)}", _with(measured, unit), measured >= asked)


def below(what: str, asked: float, measured: float, unit: str = "") -> Check:
    """Not met by NaN."""
    return Check(what, f"< {_with(asked, unit)}", _with(measured, unit), measured < asked)


def holds(what: str, asked: str, wrong: str = "") -> Check:
    """
    Args:
        wrong: what was found instead; empty if it is as asked.
    """
    return Check(what, asked, wrong or "as asked", not wrong)


def _with(value: float, unit: str) -> str:
    return f"{number(float(value))} {unit}".rstrip()

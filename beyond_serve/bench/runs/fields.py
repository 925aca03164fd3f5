"""Numbers of a point by their path, such as load.latency_ms.p99.9, and which way each is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

_MORE_IS_FASTER = ("_per_s", "per_second", "throughput", "goodput")
_LESS_IS_FASTER = ("_ms", "_us", "_ns", "_s", "joules", "seconds")


def numeric_fields(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted paths of every number in the points."""
    return sorted({path for point in points for path in _paths({**point, "labels": {}}, "")})


def direction(field: str) -> Literal["more", "less", "neither"]:
    """Which way is faster, by the field's name: its unit or its quantity."""
    if any(sign in field for sign in _MORE_IS_FASTER):
        return "more"
    parts = field.split(".")
    if any(part.endswith(_LESS_IS_FASTER) or part.startswith("latency") for part in parts):
        return "less"
    return "neither"


def value_at(point: Mapping[str, Any], field: str) -> float | None:
    """The finite number at `field`, or None."""
    found: Any = point
    for part in _steps(point, field):
        found = found[part]
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        return None
    return float(found)


def _steps(point: Mapping[str, Any], field: str) -> list[str]:
    """The keys on the way to `field`; a key may itself have dots ("p99.9"). [] if there is no such way."""
    parts = field.split(".")
    steps: list[str] = []
    found: Any = point
    while parts:
        for length in range(len(parts), 0, -1):
            key = ".".join(parts[:length])
            if isinstance(found, dict) and key in found:
                break
        else:
            return []
        steps.append(key)
        found, parts = found[key], parts[length:]
    return steps


def _paths(value: Any, prefix: str) -> list[str]:
    if isinstance(value, dict):
        return [path for key, inner in value.items() for path in _paths(inner, f"{prefix}.{key}".lstrip("."))]
    return [prefix] if isinstance(value, (int, float)) and not isinstance(value, bool) else []

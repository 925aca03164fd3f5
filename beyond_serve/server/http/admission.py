"""What becomes of a new connection. Pure."""

from __future__ import annotations

from enum import Enum, auto

SLACK = 64
"""Connections above the limit that are still told why they are refused; the rest is dropped unheard."""


class Admission(Enum):
    ADMITTED = auto()
    REFUSED = auto()
    DROPPED = auto()


def admission(open_connections: int, max_connections: int) -> Admission:
    """The fate of one more connection beside `open_connections`."""
    if open_connections < max_connections:
        return Admission.ADMITTED
    return Admission.REFUSED if open_connections < max_connections + SLACK else Admission.DROPPED

"""How fast requests have been arriving."""

from __future__ import annotations

_WINDOW = 16
"""Arrivals that make one observation: an invented number."""

_FORGET = 4
"""A gap so many times longer or shorter than before starts the estimate anew: an invented number."""


class ArrivalRate:
    """The mean gap between arrivals, over about the last two windows.

    `count` is raised by its owner for each arrival, and that is all an arrival costs; time is read
    when the gap is asked for. State is owned by the event loop.
    """

    def __init__(self) -> None:
        self.count = 0
        self._since_ns = 0
        self._gap_ns = 0.0

    def gap_ns(self, now_ns: int) -> float:
        """Nanoseconds between arrivals lately, 0 while unknown."""
        elapsed = now_ns - self._since_ns
        if self._since_ns == 0:
            self._since_ns, self.count = now_ns, 0
        elif self.count >= _WINDOW and elapsed > 0:
            gap = elapsed / self.count
            similar = self._gap_ns / _FORGET <= gap <= self._gap_ns * _FORGET
            self._gap_ns = (self._gap_ns + gap) / 2 if similar else gap
            self._since_ns, self.count = now_ns, 0
        elif self._gap_ns and elapsed > _FORGET * _WINDOW * self._gap_ns:
            # Too few came for a window: they have become slow.
            self._gap_ns = elapsed / max(self.count, 1)
            self._since_ns, self.count = now_ns, 0
        return self._gap_ns

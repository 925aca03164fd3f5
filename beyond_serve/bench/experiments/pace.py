"""How long a closed loop is measured, so that it is steady. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How long points are measured.

    Attributes:
        warmup_s, measured_s: at least.
        rounds: how often every client must have been answered in the measured time, so that the run is
            steady and Little's law can be checked; the warm-up is two.
    """

    warmup_s: float
    measured_s: float
    rounds: float

    def lengths(self, concurrency: int, rate: float) -> tuple[float, float]:
        """Seconds of warm-up and of measuring, if the server answers about `rate` requests/s."""
        one_round = concurrency / rate if rate > 0 else 0.0
        return max(self.warmup_s, 2 * one_round), max(self.measured_s, self.rounds * one_round)

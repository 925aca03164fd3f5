"""Timing what runs on a device: contenders take turns, medians count."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each once a round, every other round in the opposite order, so that none always follows another.

    Returns:
        Their figures, in the order of the rounds.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(contenders[name]())
    return found


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in samples.items()}


def times_for(seconds: float, once_s: float, most: int = 100_000) -> int:
    """How often something that takes `once_s` fits into `seconds`; at least 3."""
    return max(3, min(most, round(seconds / max(once_s, 1e-9))))


class Pace:
    """Whether there is time for another one, going by the longest so far.

    Args:
        least_s: what the first is taken for: an invented number.
    """

    def __init__(self, least_s: float) -> None:
        self._longest_s = least_s

    def fits(self, left_s: float) -> bool:
        """With a fifth to spare."""
        return left_s >= 1.2 * self._longest_s

    def took(self, seconds: float) -> None:
        self._longest_s = max(self._longest_s, seconds)

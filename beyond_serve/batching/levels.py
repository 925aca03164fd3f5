"""Priority levels: who goes first, for how long, and how much of the queue each may fill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from beyond_serve.errors import ConfigError


@dataclass(frozen=True)
class Levels:
    """Levels 1 (first) to `count`; the Open Inference Protocol's priority 0 means the middle one.

    A level's request stands in its lane as if it had come `ageing_ns` later for each level between
    it and the default (earlier, above it). So a request is only overtaken by those of better levels
    that come within that time: the lowest level always moves.

    Places in the queue nest: level k and all below it may fill `places[k - 1]`, so that a flood of
    the unimportant leaves room for what matters.

    Attributes:
        limits: most requests that may wait, by level, from the first on. Empty: the whole queue for the
            default level, a tenth of it more or less for each level above or below, an invented rule.
    """

    count: int = 3
    ageing_ns: int = 1_000_000_000
    limits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.limits and len(self.limits) != self.count:
            raise ConfigError(
                f"{len(self.limits)} queue limits for {self.count} priority levels", "give one for each level"
            )

    @cached_property
    def default(self) -> int:
        """The level of requests that name none."""
        return (self.count + 1) // 2

    def level(self, priority: int) -> int:
        """The level of a request's priority parameter; beyond the last is the last."""
        return min(priority, self.count) if priority > 0 else self.default

    def handicap_ns(self, level: int) -> int:
        return (level - self.default) * self.ageing_ns

    def places(self, capacity: int) -> tuple[int, ...]:
        """How many requests of each level and those below it may wait; `capacity` is the default level's."""
        if self.limits:
            return self.limits
        tenths = (10 + max(self.default - level, -9) for level in range(1, self.count + 1))
        return tuple(-(-capacity * part // 10) for part in tenths)

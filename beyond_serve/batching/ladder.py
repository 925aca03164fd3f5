"""Which of several plans serves while the queue grows: down under overload, up again with hysteresis. Pure.

Idea: SMOL's Pareto set of plans (arXiv 2007.13005, section 3), used online; neither paper does that.
"""

from __future__ import annotations

SETTLE_NS = 200_000_000
"""After a step the next one down waits so long, for the step to show: an invented number."""

HOLD_NS = 2_000_000_000
"""A step up needs a short wait for so long without a break: an invented number."""

CALM = 1 / 4
"""A wait is short below this part of the bound: the better rung costs more, and must not pass it again."""


class Ladder:
    """Steps from rung 0, the best, to `rungs` - 1, the cheapest.

    State: the rung, when it last changed, since when waits have been short.
    """

    def __init__(self, rungs: int, bound_ns: int) -> None:
        """
        Args:
            rungs: at least 1.
            bound_ns: a predicted wait beyond this is overload.
        """
        self.rung = 0
        self._rungs = rungs
        self._bound_ns = bound_ns
        self._changed_ns: int | None = None
        self._calm_since_ns: int | None = None

    def update(self, wait_ns: int, now_ns: int) -> int:
        """The rung for a request that is expected to wait `wait_ns`."""
        if wait_ns > self._bound_ns:
            self._calm_since_ns = None
            settled = self._changed_ns is None or now_ns - self._changed_ns >= SETTLE_NS
            if settled and self.rung + 1 < self._rungs:
                self._step(1, now_ns)
        elif wait_ns > CALM * self._bound_ns:
            self._calm_since_ns = None
        elif self._calm_since_ns is None:
            self._calm_since_ns = now_ns
        elif self.rung > 0 and now_ns - self._calm_since_ns >= HOLD_NS:
            self._step(-1, now_ns)
        return self.rung

    def _step(self, by: int, now_ns: int) -> None:
        self.rung += by
        self._changed_ns = now_ns
        self._calm_since_ns = None if by > 0 else now_ns

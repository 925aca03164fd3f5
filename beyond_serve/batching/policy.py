"""When waiting requests become a batch: what policies are asked and may answer. Pure; no clock, no loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from beyond_serve.batching.cost import BatchCost

Release = Literal["full", "delay", "idle", "deadline", "retry"]
"""Why a batch left: it was full; the oldest had waited long enough; an instance was idle and waiting would
not have paid; a deadline left no more time; it is a request whose first batch failed."""


class QueueView(NamedTuple):
    """What a policy may know. Times in nanoseconds on one monotonic clock.

    waiting: requests that could share a batch now, at least 1.
    oldest_ns: when the oldest of them became ready.
    earliest_deadline_ns: the earliest deadline among those a full batch would take, or None.
    max_batch: the largest batch.
    cost: l(n) of these instances; may know nothing yet.
    gap_ns: the mean time between arrivals lately, 0 if unknown.
    deadlines_ns: for policies that order by deadline: of all that wait, in the lane's order, NEVER_NS
        for none; empty for others.
    """

    now_ns: int
    waiting: int
    oldest_ns: int
    earliest_deadline_ns: int | None
    max_batch: int
    cost: BatchCost
    gap_ns: float = 0.0
    deadlines_ns: Sequence[int] = ()


class Dispatch(NamedTuple):
    """Drop the first `drop`, whose deadlines cannot be met, and run the next `size`."""

    size: int
    release: Release
    drop: int = 0


class WaitUntil(NamedTuple):
    """Drop the first `drop` and ask again at `when_ns`, or when a request arrives or an instance is free."""

    when_ns: int
    drop: int = 0


Decision = Dispatch | WaitUntil


class BatchPolicy(Protocol):
    @property
    def by_deadline(self) -> bool:
        """Lanes are ordered by deadline, and `deadlines_ns` is wanted; else by arrival."""
        ...

    def decide(self, view: QueueView) -> Decision:
        """Asked only while an instance is free."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Max batch and max delay, counted from the oldest request, as Triton's dynamic batcher; a deadline may
    cut the delay short. With a delay of 0 a free instance takes what waits at once."""

    max_delay_ns: int = 0
    by_deadline: bool = False

    def decide(self, view: QueueView) -> Decision:
        if view.waiting >= view.max_batch:
            return Dispatch(view.max_batch, "full")
        if self.max_delay_ns == 0:
            return Dispatch(view.waiting, "idle")
        when, release = view.oldest_ns + self.max_delay_ns, "delay"
        if view.earliest_deadline_ns is not None:
            latest = view.earliest_deadline_ns - view.cost.latency_ns(view.waiting) - view.cost.margin_ns
            if latest < when:
                when, release = latest, "deadline"
        if view.now_ns >= when:
            return Dispatch(view.waiting, "deadline" if release == "deadline" else "delay")
        return WaitUntil(when)


_BUSY = 0.85
"""Above this share of the best rate a free instance is worth more than a larger batch. From simulation, with
three tables and 1 to 16 instances: docs/simulate.md."""


@dataclass(frozen=True, slots=True)
class AdaptivePolicy:
    """Waits only as far as the arrivals ask for larger batches, and never longer than a batch takes.

    The smallest batch whose rate would keep up with the arrivals if there were one instance more is enough:
    with many instances that is what keeps up, and smaller batches would only occupy all of them; a single
    one should hardly ever wait, since what comes meanwhile makes its next batch larger anyway. While the
    costs or the arrivals are unknown an instance takes what waits.

    Attributes:
        instances: that share the arrivals.
        max_delay_ns: an upper bound for the oldest request's wait; 0 for a batch's own time.
    """

    instances: int = 1
    max_delay_ns: int = 0
    by_deadline: bool = False

    def decide(self, view: QueueView) -> Decision:
        if view.waiting >= view.max_batch:
            return Dispatch(view.max_batch, "full")
        enough = self.enough(view)
        if view.waiting >= enough:
            return Dispatch(view.waiting, "idle")
        # Twice what filling takes on average: arrivals that have ended must not hold up the last ones.
        bound = min(view.cost.latency_ns(enough), int(2 * enough * view.gap_ns))
        if self.max_delay_ns:
            bound = min(bound, self.max_delay_ns)
        when, release = view.oldest_ns + bound, "delay"
        if view.earliest_deadline_ns is not None:
            latest = view.earliest_deadline_ns - view.cost.latency_ns(enough) - view.cost.margin_ns
            if latest < when:
                when, release = latest, "deadline"
        if view.now_ns >= when:
            return Dispatch(view.waiting, "deadline" if release == "deadline" else "delay")
        return WaitUntil(when)

    def enough(self, view: QueueView) -> int:
        """The batch that is worth waiting for, at most `max_batch`; 1 to wait for nothing."""
        cost, largest = view.cost, view.max_batch
        if not cost.known or view.gap_ns <= 0:
            return 1
        if cost.latency_ns(largest) > _BUSY * view.gap_ns * self.instances * largest:
            return 1
        allowed_ns = view.gap_ns * (self.instances + 1)
        low, high = 1, largest
        while low < high:
            middle = (low + high) // 2
            if cost.latency_ns(middle) <= allowed_ns * middle:
                high = middle
            else:
                low = middle + 1
        return low

"""Policies that live by deadlines: `DeadlinePolicy` (Nexus) and `DeferredPolicy` (Symphony). Pure.

Sources: Shen et al., Nexus, SOSP 2019, section 4.3 (early drop); Chen et al., Symphony, 2023 (deferred
batch scheduling).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import le

from beyond_serve.batching.lane import NEVER_NS
from beyond_serve.batching.policy import Decision, Dispatch, QueueView, WaitUntil

_SCANNED_BATCHES = 4
"""How many batches deep an overloaded queue is searched for a better head: an invented number."""


@dataclass(frozen=True, slots=True)
class DeadlinePolicy:
    """Earliest deadline first, at once: drops what cannot be met, then runs the largest batch that can.

    Where everything that waits can still be met, only the hopeless are dropped. Where not, somebody
    will be late: then the head is given up as well if the batch that it allows is so small that the
    instance's time is worth more than its requests.

    Attributes:
        instances: that share the queue.
    """

    instances: int = 1
    by_deadline: bool = True

    def decide(self, view: QueueView) -> Decision:
        drop, size = choose(view, self.instances)
        if size == 0:
            return WaitUntil(NEVER_NS, drop)
        if size == view.max_batch:
            return Dispatch(size, "full", drop)
        return Dispatch(size, "deadline" if drop + size < view.waiting else "idle", drop)


@dataclass(frozen=True, slots=True)
class DeferredPolicy:
    """As `DeadlinePolicy`, but a batch leaves as late as it may: within [d - l(n + 1), d - l(n)], where d is
    its earliest deadline. So batches are as large, and as few, as deadlines allow.

    Attributes:
        instances: that share the queue.
        max_delay_ns: for batches without a deadline; 0 runs them at once.
        timer_ns: how late a timer may fire: the event loop's counts whole milliseconds.
    """

    instances: int = 1
    max_delay_ns: int = 0
    timer_ns: int = 1_500_000
    by_deadline: bool = True

    def decide(self, view: QueueView) -> Decision:
        drop, size = choose(view, self.instances)
        if size == 0:
            return WaitUntil(NEVER_NS, drop)
        if size == view.max_batch:
            return Dispatch(size, "full", drop)
        if drop + size < view.waiting:
            return Dispatch(size, "deadline", drop)
        earliest = min(view.deadlines_ns[drop : drop + size])
        if earliest == NEVER_NS:
            when = view.oldest_ns + self.max_delay_ns
            release: Dispatch = Dispatch(size, "delay" if self.max_delay_ns else "idle", drop)
        else:
            when = earliest - view.cost.latency_ns(size + 1) - view.cost.margin_ns - self.timer_ns
            release = Dispatch(size, "deadline", drop)
        return release if view.now_ns >= when else WaitUntil(when, drop)


def choose(view: QueueView, instances: int) -> tuple[int, int]:
    """How many to drop from the head, and how many after them to run; a size of 0 if none can be met."""
    start_ns = view.now_ns + view.cost.margin_ns
    deadlines = view.deadlines_ns
    drop = hopeless(deadlines, start_ns + view.cost.latency_ns(1))
    if drop == len(deadlines):
        return drop, 0
    size = largest_batch(deadlines, drop, start_ns, view)
    if size == min(view.max_batch, len(deadlines) - drop):
        return drop, size
    if all_can_be_met(deadlines, drop, start_ns, view, instances):
        return drop, size
    return most_valuable(deadlines, drop, start_ns, view)


def hopeless(deadlines: Sequence[int], earliest_end_ns: int) -> int:
    """How many at the head would be late even alone."""
    for index, deadline in enumerate(deadlines):
        if deadline >= earliest_end_ns:
            return index
    return len(deadlines)


def largest_batch(deadlines: Sequence[int], first: int, start_ns: int, view: QueueView) -> int:
    """The largest batch from `first` on that ends before each of its deadlines; 0 if `first` alone is late.

    Deadlines ascend but for priorities, which may put an earlier one behind a later one.
    """
    cost = view.cost
    limit = min(view.max_batch, len(deadlines) - first)
    size = cost.largest_within(deadlines[first] - start_ns, limit)
    if size < 2 or min(deadlines[first : first + size]) >= start_ns + cost.latency_ns(size):
        return size
    # A larger batch ends later and has no later earliest deadline: what is late stays late.
    met, late = 1, size
    while late - met > 1:
        middle = (met + late) // 2
        if min(deadlines[first : first + middle]) >= start_ns + cost.latency_ns(middle):
            met = middle
        else:
            late = middle
    return met


def all_can_be_met(
    deadlines: Sequence[int], first: int, start_ns: int, view: QueueView, instances: int
) -> bool:
    """Whether greedy batches in this order meet every deadline; instances count as so much speed."""
    index, now_ns = first, start_ns
    while index < len(deadlines):
        size = largest_batch(deadlines, index, now_ns, view)
        if size == 0:
            return False
        now_ns += view.cost.latency_ns(size) // instances
        index += size
    return True


def most_valuable(deadlines: Sequence[int], first: int, start_ns: int, view: QueueView) -> tuple[int, int]:
    """The (drop, size) that answers most, an instance's time valued at its best rate.

    What has no deadline can always be met, and is never dropped for others.
    """
    peak = view.cost.peak_rate(view.max_batch)
    best, best_value = (first, 0), float("-inf")
    last = min(len(deadlines), first + _SCANNED_BATCHES * view.max_batch)
    scanned = deadlines[first:last]
    ascending = all(map(le, scanned, scanned[1:]))
    index = first
    while index < last:
        size = largest_batch(deadlines, index, start_ns, view)
        value = size - peak * view.cost.latency_ns(size) if size else float("-inf")
        if value > best_value:
            best, best_value = (index, size), value
        if size == view.max_batch or deadlines[index] == NEVER_NS:
            break
        index += 1
        if ascending:
            # Heads that allow the same size are worth the same: on to the first that allows more.
            index = bisect_left(deadlines, start_ns + view.cost.latency_ns(size + 1), index, last)
    return best

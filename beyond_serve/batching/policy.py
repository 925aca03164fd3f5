"""When waiting requests become a batch. Pure: numbers in, a decision out; no clock, no loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Release = Literal["full", "delay", "idle", "deadline"]


class QueueView(NamedTuple):
    """What a policy may know. Times in nanoseconds on one monotonic clock.

    waiting: requests that could share a batch now, at least 1.
    oldest_ns: when the oldest of them became ready.
    earliest_deadline_ns: the earliest deadline among those a batch would take, or None.
    service_ns: how long a batch has been taking lately, 0 if none ran yet.
    """

    now_ns: int
    waiting: int
    oldest_ns: int
    earliest_deadline_ns: int | None
    max_batch: int
    service_ns: int


class Dispatch(NamedTuple):
    size: int
    release: Release


class WaitUntil(NamedTuple):
    when_ns: int


class BatchPolicy(Protocol):
    def decide(self, view: QueueView) -> Dispatch | WaitUntil:
        """Asked only while an instance is free."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Max batch and max delay, counted from the oldest request; a deadline may cut the delay short.

    With a delay of 0 a free instance takes what waits at once.
    """

    max_delay_ns: int = 0

    def decide(self, view: QueueView) -> Dispatch | WaitUntil:
        if view.waiting >= view.max_batch:
            return Dispatch(view.max_batch, "full")
        if self.max_delay_ns == 0:
            return Dispatch(view.waiting, "idle")
        when, release = view.oldest_ns + self.max_delay_ns, "delay"
        if view.earliest_deadline_ns is not None:
            latest = view.earliest_deadline_ns - view.service_ns
            if latest < when:
                when, release = latest, "deadline"
        if view.now_ns >= when:
            return Dispatch(view.waiting, "deadline" if release == "deadline" else "delay")
        return WaitUntil(when)

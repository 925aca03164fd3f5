"""Whether a new request's deadline can be met, before anything is spent on it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from beyond_serve.batching.cost import BatchCost
from beyond_serve.errors import DeadlineExceededError


class Forecast(NamedTuple):
    """What lies before a new request. Nanoseconds.

    decode_wait_ns: until a worker takes it.
    decode_ns: its own decoding, predicted from its header.
    queue_ns: until a request that is ready now, behind those ahead of this one, is through its batch.
    single_ns: a batch of one.
    """

    decode_wait_ns: int = 0
    decode_ns: int = 0
    queue_ns: int = 0
    single_ns: int = 0

    def finish_ns(self, now_ns: int) -> int:
        """When its result is expected. Batches of those ahead run while it is decoded, so the slower of
        the two lines decides."""
        return now_ns + max(self.decode_wait_ns + self.decode_ns + self.single_ns, self.queue_ns)


def queue_ns(ahead: int, cost: BatchCost, max_batch: int, free_ns: Sequence[int], gap_ns: float) -> int:
    """How long a request that is ready now, behind `ahead` others, waits and runs.

    Those ahead fill batches, which run on the instances as these come free; then it goes with the rest,
    and with those that come while it waits: at a high load its batch will be a full one.

    Args:
        free_ns: in how long each instance comes free, ascending; at least one.
        gap_ns: the mean time between arrivals, 0 if unknown.
    """
    batches, size = divmod(ahead, max_batch)
    rounds, place = divmod(batches, len(free_ns))
    wait_ns = rounds * cost.latency_ns(max_batch) + free_ns[place]
    size += 1
    if gap_ns > 0:
        size = min(size + int(wait_ns / gap_ns), max_batch)
    return wait_ns + cost.latency_ns(size)


STEP_NS = 20_000
"""How much one late request adds: an invented number; a second of overload finds what 50 ms need."""

MISSES = 0.003
"""Of the requests that are let in about so many are given up after all: an invented number. Fewer would cost
more that could be met."""


class Slack:
    """How much before its deadline a request must be expected to end to be let in.

    Forecasts are right on average, and under overload the queue is full of requests that were only just
    let in. Each one that had to be given up later raises the slack by a step, each one that was run lowers
    it by `MISSES` of a step, so that their shares balance there.

    State: the slack. Owned by the event loop.

    Attributes:
        ns: between 0 and `most_ns`.
    """

    def __init__(self, most_ns: float = 20e6) -> None:
        self.ns = 0.0
        self.most_ns = most_ns

    def missed(self, count: int) -> None:
        """So many were given up after they had been let in."""
        self.ns = min(self.most_ns, self.ns + STEP_NS * count)

    def met(self, count: int) -> None:
        """So many were run."""
        self.ns = max(0.0, self.ns - MISSES * STEP_NS * count)


def too_late(forecast: Forecast, now_ns: int, deadline_ns: int) -> DeadlineExceededError | None:
    """The refusal of a request that is expected to end after its deadline; None for one that is not."""
    late_ns = forecast.finish_ns(now_ns) - deadline_ns
    if late_ns <= 0:
        return None
    return DeadlineExceededError(
        f"the deadline cannot be met: {max(0, deadline_ns - now_ns) / 1e6:.1f} ms are left, "
        f"and the result is expected {late_ns / 1e6:.1f} ms after it",
        "allow more time, or lower the load",
    )

"""Measure l(n), what a batch of n takes, on a model's own instances before anything is served."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from beyond_serve.batching import BatchCost, Batcher, Clock, Dispatch, QueueView, Request
from beyond_serve.batching.policy import Decision

log = logging.getLogger(__name__)

# Rounds of one size after its warm-up; more than LEAST only while its share of the budget lasts. Medians
# of three already ignore one stall; the numbers themselves are invented.
LEAST_ROUNDS = 3
MOST_ROUNDS = 9

CLEARLY_BELOW = 0.8
"""Below this share of the best rate larger batches only cost time: an invented number, wide of the noise."""
SIZES_BELOW = 3


async def measured_costs(
    batcher: Batcher,
    make_request: Callable[[], Request],
    sizes: Sequence[int],
    clock: Clock,
    budget_s: float = 2.0,
) -> dict[int, float]:
    """l(n) in nanoseconds by batch size, as live batches of a loaded server would be observed: from the
    batcher's dispatch to its hearing of the end, while every other instance runs a batch of that size too.

    Sizes go up, each with a warm-up first, until the budget would be overspent, the rate stays clearly
    below the best, or a batch fails; the log says which. The smallest size is measured whatever it takes.
    Times never fall with the size. No instance, or a failure at the first size, gives an empty table.
    Raises nothing of an engine's.

    Args:
        batcher: with its instances ready, and nothing else enqueued until this returns.
        make_request: a request as `request_maker` makes it, whose `on_done` is nobody's yet; called for
            a batch on every instance before any of them ends.
        sizes: see `batching.cost.grid`.
    """
    rehearsal = _Rehearsal(batcher, make_request, clock)
    entries: dict[int, float] = {}
    end_ns = clock.now_ns() + round(budget_s * 1e9)
    share_ns = round(budget_s * 1e9 / max(len(sizes), 1))
    with batcher.rehearsing(rehearsal.policy, rehearsal.heard):
        for size in sorted(sizes):
            if (why := _enough(entries, size, end_ns - clock.now_ns())) is not None:
                log.info("batches from %d on were not measured: %s", size, why)
                break
            try:
                took_ns, warm = await _one_size(rehearsal, size, share_ns, end_ns)
            except _RoundFailedError as failure:
                log.warning("batches from %d on were not measured: %s", size, failure)
                break
            # A model so slow that one batch takes the whole budget is told by that one, better than by
            # nothing; of larger sizes the slope says more than a first batch, which may have made kernels.
            if warm or not entries:
                entries[size] = took_ns
    return _without_stalls(entries)


def _without_stalls(entries: dict[int, float]) -> dict[int, float]:
    """No size takes longer than a larger one: what disturbs a measurement only ever adds to it."""
    least = math.inf
    rising: dict[int, float] = {}
    for size in sorted(entries, reverse=True):
        rising[size] = least = min(least, entries[size])
    return dict(sorted(rising.items()))


def _enough(entries: dict[int, float], size: int, left_ns: int) -> str | None:
    """Why to stop before `size`, None to go on."""
    if not entries:
        return None
    last = max(entries)
    rates = [n / ns for n, ns in entries.items()]
    # In a row, so that an odd size that is slow by itself, or another process's burst, does not end it.
    if max(rates[-SIZES_BELOW:]) < CLEARLY_BELOW * max(rates):
        return f"at {last} the rate is below {CLEARLY_BELOW:.0%} of the best"
    # A warm-up and one round, should the time grow with the size.
    if 2 * entries[last] * size / last > left_ns:
        return "the time for measuring is spent"
    return None


async def _one_size(rehearsal: _Rehearsal, size: int, share_ns: int, end_ns: int) -> tuple[float, bool]:
    """What a batch of `size` takes, and whether that is more than a warm-up's time."""
    clock = rehearsal.clock
    started_ns = clock.now_ns()
    warm_up = await rehearsal.round(size)
    times: list[int] = []
    for number in range(MOST_ROUNDS):
        now_ns = clock.now_ns()
        if now_ns >= end_ns or (number >= LEAST_ROUNDS and now_ns - started_ns >= share_ns):
            break
        times += await rehearsal.round(size)
    return max(median(times or warm_up), 1), bool(times)


class _RoundFailedError(Exception):
    """A batch did not come back as it was sent."""


@dataclass(slots=True)
class _Exactly:
    """Batches of one size, whatever else could be done."""

    size: int = 1
    by_deadline: bool = False

    def decide(self, view: QueueView) -> Decision:
        return Dispatch(min(self.size, view.waiting), "full")


class _Heard(BatchCost):
    """Collects what the batcher observes instead of learning from it."""

    def __init__(self, largest: int) -> None:
        super().__init__(largest)
        self.batches: list[tuple[int, int]] = []

    def observe(self, size: int, took_ns: int) -> None:
        self.batches.append((size, took_ns))


@dataclass(slots=True)
class _Rehearsal:
    batcher: Batcher
    make_request: Callable[[], Request]
    clock: Clock
    policy: _Exactly = field(default_factory=_Exactly)
    heard: _Heard = field(init=False)

    def __post_init__(self) -> None:
        self.heard = _Heard(self.batcher.max_batch)

    async def round(self, size: int) -> list[int]:
        """One batch of `size` on each instance, all at once; what each took, in nanoseconds.

        Raises:
            _RoundFailedError: one of them failed, or there is no instance.
        """
        instances = self.batcher.instances
        if instances == 0:
            raise _RoundFailedError("no instance is ready")
        self.policy.size = size
        self.heard.batches.clear()
        requests = await self._run(instances * size)
        for request in requests:
            if request.error is not None:
                raise _RoundFailedError(request.error.message)
        if [n for n, _ in self.heard.batches] != [size] * instances:
            # The instances changed meanwhile; their times would not be those of this size.
            raise _RoundFailedError("an instance came or went")
        return [took_ns for _, took_ns in self.heard.batches]

    async def _run(self, count: int) -> list[Request]:
        """Enqueue `count` requests in one go and wait until each has ended."""
        ended = asyncio.get_running_loop().create_future()
        left = count

        def on_done(_: Request) -> None:
            nonlocal left
            left -= 1
            if left == 0 and not ended.done():
                ended.set_result(None)

        requests: list[Request] = []
        try:
            for _ in range(count):
                request = self.make_request()
                request.on_done = on_done
                # A failure is to be told at once, not tried again one by one.
                request.retried = True
                requests.append(request)
            for request in requests:
                self.batcher.enqueue(request)
            await ended
        finally:
            for request in requests:
                request.cancel()
        return requests
